/**
 * @file page.c  A page of the documents that a program writes
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "page.h"


/* The page is made in memory, so that it can be compared */
static struct {
	char *buf;
	size_t len;
} page;


/**
 * Add text to the page
 *
 * @param fmt Format as of printf(), and its arguments
 *
 * Ends the program if memory runs out.
 */
void put(const char *fmt, ...)
{
	va_list ap;
	char *buf;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);

	if (n < 0)
		abort();

	buf = realloc(page.buf, page.len + (size_t)n + 1);
	if (!buf)
		abort();

	page.buf = buf;

	va_start(ap, fmt);
	(void)vsnprintf(buf + page.len, (size_t)n + 1, fmt, ap);
	va_end(ap);

	page.len += (size_t)n;
}


static int page_write(const char *path)
{
	FILE *f = fopen(path, "w");
	int err = 0;

	if (!f) {
		perror(path);
		return -1;
	}

	if (page.len != fwrite(page.buf, 1, page.len, f))
		err = -1;

	if (fclose(f))
		err = -1;

	if (err)
		perror(path);

	return err;
}


static int page_check(const char *path, const char *target)
{
	FILE *f = fopen(path, "r");
	unsigned long line = 1;
	size_t i;
	int c;

	if (!f) {
		perror(path);
		return -1;
	}

	for (i = 0; i < page.len; i++) {

		c = fgetc(f);

		if (c != (unsigned char)page.buf[i])
			break;

		if (c == '\n')
			++line;
	}

	c = i < page.len ? 0 : fgetc(f);
	(void)fclose(f);

	if (c != EOF) {
		(void)fprintf(stderr, "%s:%lu: not what the code says (any"
			" more); write it again with\n"
			"  cmake --build build %s\n", path, line, target);
		return -1;
	}

	return 0;
}


/**
 * Print the page, write it (--write FILE), or compare it (--check FILE)
 *
 * @param argc   Number of arguments of the program, its name is one
 * @param argv   Arguments
 * @param target What cmake is asked for to write the page
 * @param name   The program and its own options, for the usage
 *
 * @return Exit status: 0, or 1 if the page can't be written or differs
 */
int page_done(int argc, char *argv[], const char *target, const char *name)
{
	int err = 0;

	if (argc == 1)
		err = fputs(page.buf, stdout) < 0;
	else if (argc == 3 && 0 == strcmp(argv[1], "--write"))
		err = page_write(argv[2]);
	else if (argc == 3 && 0 == strcmp(argv[1], "--check"))
		err = page_check(argv[2], target);
	else {
		(void)fprintf(stderr, "usage: %s [--write FILE | --check"
			      " FILE]\n", name);
		err = -1;
	}

	free(page.buf);
	memset(&page, 0, sizeof(page));

	return err ? 1 : 0;
}
