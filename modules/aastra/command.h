/**
 * @file command.h  The module's commands
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_COMMAND_H
#define AASTRA_COMMAND_H

struct re_printf;


int  aa_command_register(void);
void aa_command_unregister(void);
int  aa_command_run(struct re_printf *pf, const char *name, const char *prm);

#endif
