/**
 * @file utf8.c  Text that came from somebody else
 *
 * Reason phrases and URIs are a server's.  They end up on terminals and in
 * documents, where a control character or a broken sequence does harm.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdint.h>
#include "utf8.h"


/**
 * Length of the UTF-8 sequence that a text begins with (RFC 3629 4)
 *
 * @param p Text, ended by zero
 *
 * @return 1-4; 0 if it is none, or a control character, or the end
 */
size_t aa_utf8_len(const char *p)
{
	const unsigned char *s = (const unsigned char *)p;
	uint32_t c;
	size_t n, i;

	if (!s || s[0] < 0x20 || s[0] == 0x7f)
		return 0;
	if (s[0] < 0x80)
		return 1;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;

	c = s[0] & (0xffu >> (n + 1));
	for (i=1; i<n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}

	/* C1 controls, what has a shorter form, surrogates, out of range */
	if (c < 0xa0 || (n == 3 && c < 0x800) || (n == 4 && c < 0x10000) ||
	    (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;

	return n;
}


/**
 * Copy a text; each byte that is a control character or no UTF-8 becomes '?'
 *
 * @param dst Destination; may be the text itself, if sz is its buffer's
 * @param sz  Its size; what does not fit is cut, at the end of a character
 * @param src Text, may be NULL
 *
 * @return Length of the copy [bytes]
 */
size_t aa_utf8_clean(char *dst, size_t sz, const char *src)
{
	size_t pos = 0;

	if (!dst || !sz)
		return 0;

	while (src && *src) {
		const size_t n = aa_utf8_len(src);
		size_t i;

		if (pos + (n ? n : 1) >= sz)
			break;

		if (!n) {
			dst[pos++] = '?';
			++src;
			continue;
		}

		for (i=0; i<n; i++)
			dst[pos++] = *src++;
	}

	dst[pos] = '\0';

	return pos;
}
