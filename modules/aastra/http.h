/**
 * @file http.h  The page, and what programs read of it, served by HTTP
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_HTTP_H
#define AASTRA_HTTP_H

/** A file of the page, made of modules/aastra/page at build time */
struct aa_page_file {
	const char *path;       /**< as it is asked for, "/page.js"         */
	const char *type;       /**< Content-Type                           */
	const uint8_t *data;
	size_t size;            /**< [bytes]                                */
};

extern const struct aa_page_file aa_page_filev[];
extern const size_t aa_page_filec;


int  aa_http_init(const char *conf_path);
void aa_http_config(const char *listen, const char *token);
void aa_http_close(void);

#endif
