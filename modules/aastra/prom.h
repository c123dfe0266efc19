/**
 * @file prom.h  Text format of Prometheus
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_PROM_H
#define AASTRA_PROM_H

struct re_printf;
struct aa_histogram;

/** One label of a sample */
struct aa_prom_label {
	const char *name;       /**< [a-zA-Z_][a-zA-Z0-9_]*                 */
	const char *value;      /**< any bytes; NULL is empty               */
};


int aa_prom_family(struct re_printf *pf, const char *name, const char *type,
		   const char *help);
int aa_prom_u64(struct re_printf *pf, const char *name,
		const struct aa_prom_label *labelv, size_t labelc,
		uint64_t val);
int aa_prom_milli(struct re_printf *pf, const char *name,
		  const struct aa_prom_label *labelv, size_t labelc,
		  uint64_t val);
int aa_prom_micro(struct re_printf *pf, const char *name,
		  const struct aa_prom_label *labelv, size_t labelc,
		  uint64_t val);
int aa_prom_histogram(struct re_printf *pf, const char *name,
		      const struct aa_prom_label *labelv, size_t labelc,
		      const struct aa_histogram *hist);

#endif
