/**
 * @file module.h  What the module's parts may ask of it
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_MODULE_H
#define AASTRA_MODULE_H

struct aa_phone;
struct aa_config;


struct aa_phone *aa_module_phone(void);
const struct aa_config *aa_module_config(void);

#endif
