/**
 * @file prom.c  Text format of Prometheus
 *
 * Version 0.0.4 of the exposition format: `# HELP`, `# TYPE`, and one line a
 * sample, whose labels are escaped.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "histogram.h"
#include "utf8.h"
#include "prom.h"


/* In HELP a quote stands for itself, in the value of a label it does not */
static int print_escaped(struct re_printf *pf, const char *str, bool quote)
{
	const char *p;
	int err = 0;

	for (p = str ? str : ""; *p && !err; p++) {

		if (*p == '\\')
			err = pf->vph("\\\\", 2, pf->arg);
		else if (*p == '\n')
			err = pf->vph("\\n", 2, pf->arg);
		else if (*p == '"' && quote)
			err = pf->vph("\\\"", 2, pf->arg);
		else if (!aa_utf8_len(p))
			err = pf->vph("?", 1, pf->arg);
		else {
			const size_t n = aa_utf8_len(p);

			err = pf->vph(p, n, pf->arg);
			p += n - 1;
		}
	}

	return err;
}


/* le: upper end of a bucket, NULL where there is none */
static int print_labels(struct re_printf *pf,
			const struct aa_prom_label *labelv, size_t labelc,
			const char *le)
{
	const char *sep = "{";
	size_t i;
	int err = 0;

	for (i=0; i<labelc; i++) {
		err |= re_hprintf(pf, "%s%s=\"", sep, labelv[i].name);
		err |= print_escaped(pf, labelv[i].value, true);
		err |= re_hprintf(pf, "\"");
		sep = ",";
	}

	if (le) {
		err |= re_hprintf(pf, "%sle=\"%s\"", sep, le);
		sep = ",";
	}

	if (*sep == ',')
		err |= re_hprintf(pf, "}");

	return err;
}


/**
 * Begin a family of samples
 *
 * @param pf   Print function
 * @param name Name of the family
 * @param type "counter", "gauge" or "histogram"
 * @param help One sentence
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_prom_family(struct re_printf *pf, const char *name, const char *type,
		   const char *help)
{
	int err;

	err  = re_hprintf(pf, "# HELP %s ", name);
	err |= print_escaped(pf, help, false);
	err |= re_hprintf(pf, "\n# TYPE %s %s\n", name, type);

	return err;
}


/**
 * Print a sample
 *
 * @param pf     Print function
 * @param name   Name of its family
 * @param labelv Labels
 * @param labelc Number of labels
 * @param val    Value
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_prom_u64(struct re_printf *pf, const char *name,
		const struct aa_prom_label *labelv, size_t labelc,
		uint64_t val)
{
	int err;

	err  = re_hprintf(pf, "%s", name);
	err |= print_labels(pf, labelv, labelc, NULL);
	err |= re_hprintf(pf, " %llu\n", val);

	return err;
}


/**
 * Print a sample that is given in thousandths: milliseconds as seconds
 *
 * @param pf     Print function
 * @param name   Name of its family
 * @param labelv Labels
 * @param labelc Number of labels
 * @param val    Thousand times the value
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_prom_milli(struct re_printf *pf, const char *name,
		  const struct aa_prom_label *labelv, size_t labelc,
		  uint64_t val)
{
	int err;

	err  = re_hprintf(pf, "%s", name);
	err |= print_labels(pf, labelv, labelc, NULL);
	err |= re_hprintf(pf, " %llu.%03llu\n", val / 1000, val % 1000);

	return err;
}


/**
 * Print a sample that is given in millionths: microseconds as seconds
 *
 * @param pf     Print function
 * @param name   Name of its family
 * @param labelv Labels
 * @param labelc Number of labels
 * @param val    A million times the value
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_prom_micro(struct re_printf *pf, const char *name,
		  const struct aa_prom_label *labelv, size_t labelc,
		  uint64_t val)
{
	int err;

	err  = re_hprintf(pf, "%s", name);
	err |= print_labels(pf, labelv, labelc, NULL);
	err |= re_hprintf(pf, " %llu.%06llu\n", val / 1000000,
			  val % 1000000);

	return err;
}


/* 10 is "0.01", 1000 is "1": as the client libraries of Prometheus print it */
static int bound_print(char *buf, size_t sz, uint32_t ms)
{
	const int n = re_snprintf(buf, sz, "%u.%03u", ms / 1000, ms % 1000);
	char *p = buf + n - 1;

	if (n < 0)
		return ENOMEM;

	while (*p == '0')
		*p-- = '\0';
	if (*p == '.')
		*p = '\0';

	return 0;
}


static int print_bucket(struct re_printf *pf, const char *name,
			const struct aa_prom_label *labelv, size_t labelc,
			const char *le, uint64_t n)
{
	int err;

	err  = re_hprintf(pf, "%s_bucket", name);
	err |= print_labels(pf, labelv, labelc, le);
	err |= re_hprintf(pf, " %llu\n", n);

	return err;
}


/**
 * Print a histogram, in seconds: cumulative buckets, sum, count
 *
 * @param pf     Print function
 * @param name   Name of its family
 * @param labelv Labels
 * @param labelc Number of labels
 * @param hist   Histogram, in milliseconds
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_prom_histogram(struct re_printf *pf, const char *name,
		      const struct aa_prom_label *labelv, size_t labelc,
		      const struct aa_histogram *hist)
{
	static const uint32_t boundv[] = AA_HISTOGRAM_BOUNDS;
	uint64_t n = 0;
	char sum[32], le[16];
	size_t i;
	int err = 0;

	for (i=0; i<AA_HISTOGRAM_BUCKETS; i++) {

		n += hist->count[i];

		if (i + 1 == AA_HISTOGRAM_BUCKETS)
			str_ncpy(le, "+Inf", sizeof(le));
		else if (bound_print(le, sizeof(le), boundv[i]))
			return ENOMEM;

		err |= print_bucket(pf, name, labelv, labelc, le, n);
	}

	if (re_snprintf(sum, sizeof(sum), "%llu.%03llu", hist->sum / 1000,
			hist->sum % 1000) < 0)
		return ENOMEM;

	err |= re_hprintf(pf, "%s_sum", name);
	err |= print_labels(pf, labelv, labelc, NULL);
	err |= re_hprintf(pf, " %s\n%s_count", sum, name);
	err |= print_labels(pf, labelv, labelc, NULL);
	err |= re_hprintf(pf, " %llu\n", n);

	return err;
}
