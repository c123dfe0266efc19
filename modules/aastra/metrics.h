/**
 * @file metrics.h  What a monitoring system wants to know
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_METRICS_H
#define AASTRA_METRICS_H

struct re_printf;
struct aa_phone;
struct aa_journal_entry;


void aa_metrics_reset(void);
void aa_metrics_note(const struct aa_journal_entry *e);
int  aa_metrics_print(struct re_printf *pf, const struct aa_phone *phone);

#endif
