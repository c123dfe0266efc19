/**
 * @file lines.h  Which lines there are
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_LINES_H
#define AASTRA_LINES_H

struct re_printf;
struct ua;
struct aa_phone;
struct aa_config;
struct aa_account_facts;


int  aa_lines_init(struct aa_phone *phone, const char *conf_path,
		   const char *warm_path);
void aa_lines_begin(void);
void aa_lines_close(void);

void aa_lines_look(void);
void aa_lines_ua_gone(const struct ua *ua);
void aa_lines_rest(uint32_t n);
void aa_lines_wake(const struct ua *ua);
void aa_lines_call_closed(void);
int  aa_lines_reload(struct re_printf *pf);

struct aa_config *aa_lines_config(void);
bool aa_lines_facts(uint32_t n, const struct aa_account_facts **factsp);

#endif
