/**
 * @file tlsguard.h  TLS servers are who they say they are
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_TLSGUARD_H
#define AASTRA_TLSGUARD_H


int  aa_tlsguard_open(void);
int  aa_tlsguard_init(const char *cafile, const char *capath);
int  aa_tlsguard_cert(const char *cert, const char *key, const char *chain);
void aa_tlsguard_close(void);
void aa_tlsguard_begin(const char *host);
void aa_tlsguard_end(void);
bool aa_tlsguard_error(const char *host, char *buf, size_t sz);

#endif
