/**
 * @file said.h  What the module says, for tests that stand in for baresip
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * From 4.0 on, debug(), info() and warning() are macros; the functions behind
 * them are told whether each argument comes with its size.  A test writes
 *
 *     void SAID(warning)(SAID_ARGS const char *fmt, ...)
 *
 * and prints with said_print().  Nothing can be said by the test itself.
 */
#ifndef AASTRA_TEST_SAID_H
#define AASTRA_TEST_SAID_H

#if AASTRA_RE_VERSION >= 40000

#undef debug
#undef info
#undef warning

#define SAID(name) _##name
#define SAID_ARGS bool safe,
#define SAID_PASS safe,
#define SAID_UNUSED (void)safe
#define said_print(str, size, fmt, ap) \
	(safe ? re_vsnprintf_s : re_vsnprintf)((str), (size), (fmt), (ap))

#else

#define SAID(name) name
#define SAID_ARGS
#define SAID_PASS
#define SAID_UNUSED
#define said_print re_vsnprintf

#endif

#endif
