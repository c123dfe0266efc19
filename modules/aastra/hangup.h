/**
 * @file hangup.h  SIGHUP: the configuration is to be read again
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_HANGUP_H
#define AASTRA_HANGUP_H

typedef void (aa_hangup_h)(void);

int  aa_hangup_init(aa_hangup_h *h);
void aa_hangup_close(void);

#endif
