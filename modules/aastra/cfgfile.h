/**
 * @file cfgfile.h  Reader of *.cfg files and of baresip's config
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Bytes in, entries out.  Nothing here knows which keys exist, opens a file
 * or allocates memory: a fuzzer can drive it with any buffer.
 */
#ifndef AASTRA_CFGFILE_H
#define AASTRA_CFGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


enum {
	AA_CFG_NAME_SIZE  = 128,  /**< longest name, with its end  [bytes] */
	AA_CFG_VALUE_SIZE = 4096  /**< longest value, with its end [bytes] */
};

/** What is odd about an entry; the reader goes on in each case */
enum aa_cfg_flag {
	AA_CFG_NOCOLON   = 1<<0,  /**< no `:`, the name is the whole line   */
	AA_CFG_NONAME    = 1<<1,  /**< nothing before the `:`               */
	AA_CFG_LONGNAME  = 1<<2,  /**< the name was cut                     */
	AA_CFG_LONGVALUE = 1<<3,  /**< the value was cut                    */
	AA_CFG_NUL       = 1<<4,  /**< NUL bytes were left out              */
	AA_CFG_OPENQUOTE = 1<<5,  /**< a quote that is never closed         */
	AA_CFG_TRAILING  = 1<<6   /**< text after the closing quote         */
};

/** One entry as it was written */
struct aa_cfg_entry {
	uint32_t lineno;     /**< line of the file, from 1                  */
	unsigned flags;      /**< enum aa_cfg_flag                          */
	bool locked;         /**< `!`: the phone's user may not change it   */
	bool overwrite;      /**< `^`: what the phone's user set is dropped */
	bool underscore;     /**< baresip's spelling, `sip_proxy_ip x`      */

	/** Lower case, blanks folded to one; `_` stays what it is */
	char name[AA_CFG_NAME_SIZE];

	/** UTF-8, without comment, outer quotes and outer blanks */
	char value[AA_CFG_VALUE_SIZE];
};

/**
 * Takes one entry
 *
 * @param e   Entry, valid during the call only
 * @param arg Handler argument
 *
 * @return 0 to go on, an errorcode to stop the reader with it
 */
typedef int (aa_cfg_entry_h)(const struct aa_cfg_entry *e, void *arg);


int aa_cfgfile_read(const char *buf, size_t len, aa_cfg_entry_h *eh,
		    void *arg);
int aa_cfgfile_read_baresip(const char *buf, size_t len, aa_cfg_entry_h *eh,
			    void *arg);

#endif
