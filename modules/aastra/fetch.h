/**
 * @file fetch.h  Files by HTTP
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_FETCH_H
#define AASTRA_FETCH_H

struct aa_fetch;

/** One file, and what the server said about it */
struct aa_fetch_file {
	const char *url;        /**< what is fetched; may hold a password   */
	bool found;             /**< false: the server does not have it     */
	struct mbuf *mb;        /**< its bytes, NULL if it was not found    */
};

/**
 * Called once, when the server has said something about every file, or when
 * one of them cannot be had
 *
 * @param err   0 if all are known, otherwise errorcode
 * @param file  Number of the file that cannot be had, if err is set
 * @param text  Why it cannot, never with a password; "" if err is not set
 * @param filev Files, in the order of aa_fetch_alloc()
 * @param filec Number of files
 * @param arg   Handler argument
 */
typedef void (aa_fetch_h)(int err, size_t file, const char *text,
			  const struct aa_fetch_file *filev, size_t filec,
			  void *arg);


int aa_fetch_alloc(struct aa_fetch **fetchp, const char * const *urlv,
		   size_t urlc, const char *cafile, size_t max,
		   aa_fetch_h *h, void *arg);

#endif
