/**
 * @file merged.h  One request that came over two flows
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_MERGED_H
#define AASTRA_MERGED_H

struct aa_phone;

bool aa_merged(const struct aa_phone *phone, const struct sip_msg *msg);
void aa_merged_taken(const char *callid);
void aa_merged_forget(const char *callid);

#endif
