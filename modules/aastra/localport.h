/**
 * @file localport.h  The ports that SIP is sent from and listened on
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_LOCALPORT_H
#define AASTRA_LOCALPORT_H

struct aa_config;


void aa_localport_init(const struct aa_config *cfg);
void aa_localport_look(void);
void aa_localport_close(void);

#endif
