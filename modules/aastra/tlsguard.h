/**
 * @file tlsguard.h  TLS servers are who they say they are
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_TLSGUARD_H
#define AASTRA_TLSGUARD_H


/** Who is at the other end of the connections to an address */
enum aa_tlspeer {
	AA_TLSPEER_OK = 0,      /**< the server, or there is none yet       */
	AA_TLSPEER_WAIT,        /**< not known yet                          */
	AA_TLSPEER_OTHER        /**< somebody else                          */
};


/**
 * The names of the server at an address, as the lines' settings give them
 *
 * @param peer  Address and port, NULL: not known, all servers of all lines
 * @param namev Set to the names
 * @param max   Room for names
 *
 * @return How many there are, 0 if no line has a server there
 */
typedef size_t (aa_tlsguard_names_h)(const struct sa *peer,
				     const char **namev, size_t max);


int  aa_tlsguard_open(void);
int  aa_tlsguard_init(const char *cafile, const char *capath);
int  aa_tlsguard_cert(const char *cert, const char *key, const char *chain);
void aa_tlsguard_names(aa_tlsguard_names_h *h);
void aa_tlsguard_close(void);
bool aa_tlsguard_shut(const struct sa *peer);
enum aa_tlspeer aa_tlsguard_peer(const struct sa *peer, const char *host);
void aa_tlsguard_begin(const char *host);
void aa_tlsguard_end(void);
bool aa_tlsguard_error(const char *host, char *buf, size_t sz);

#endif
