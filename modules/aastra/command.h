/**
 * @file command.h  The module's commands
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_COMMAND_H
#define AASTRA_COMMAND_H


int  aa_command_register(void);
void aa_command_unregister(void);

#endif
