/**
 * @file test_netwatch.c  The host's links, addresses and routes
 *
 * In a network namespace of its own, with ip(8).  Left out where the system
 * does not allow that.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "timer.h"
#include "netwatch.h"
#include "steady.h"
#include "wallclock.h"


enum {
	CALLS       = 64,
	WAIT_MS     = 4000,     /* the kernel delays news of a carrier by 1 s */
	QUIET_MS    = 180       /* longer than calls are held back           */
};

static struct {
	struct aa_netwatch *nw;
	enum aa_net callv[CALLS];
	uint64_t timev[CALLS];
	size_t calls;
	size_t enough;          /* end the loop after so many calls */
	bool free;              /* end the watch in the handler     */
} watch;

static bool possible;


/* ---- Tools ------------------------------------------------------------ */


static void run(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	(void)re_vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);

	if (system(cmd))
		fail_msg("failed: %s", cmd);
}


static bool write_file(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;

	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	(void)close(fd);

	return ok;
}


static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		++n;
	(void)closedir(dir);

	return n;
}


static void net_handler(enum aa_net what, void *arg)
{
	assert_ptr_equal(&watch, arg);
	assert_true(watch.calls < CALLS);

	watch.callv[watch.calls] = what;
	watch.timev[watch.calls] = tmr_jiffies();
	++watch.calls;

	if (watch.free)
		watch.nw = mem_deref(watch.nw);

	if (watch.calls == watch.enough)
		re_cancel();
}


static void stop_handler(void *arg)
{
	(void)arg;

	re_cancel();
}


static void loop(uint32_t ms)
{
	struct tmr tmr;

	tmr_init(&tmr);
	tmr_start(&tmr, ms, stop_handler, NULL);
	assert_int_equal(0, re_main(NULL));
	tmr_cancel(&tmr);
}


/* One call comes, of that kind, and no other behind it */
static void expect(enum aa_net what)
{
	watch.calls  = 0;
	watch.enough = 1;
	loop(WAIT_MS);
	assert_int_equal(1, watch.calls);
	assert_int_equal(what, watch.callv[0]);

	watch.enough = 0;
	loop(QUIET_MS);
	assert_int_equal(1, watch.calls);
}


/* Both kinds, in this order */
static void expect_both(enum aa_net first, enum aa_net second)
{
	watch.calls  = 0;
	watch.enough = 2;
	loop(WAIT_MS);
	assert_int_equal(2, watch.calls);
	assert_int_equal(first, watch.callv[0]);
	assert_int_equal(second, watch.callv[1]);
}


static void expect_nothing(void)
{
	watch.calls  = 0;
	watch.enough = 0;
	loop(QUIET_MS);
	assert_int_equal(0, watch.calls);
}


/* The kernel takes its time until a link that was set up is up */
static void settle(void)
{
	run("for i in $(seq 300); do ip -o link show v0 |"
	    " grep -q 'LOWER_UP.* state UP' && exit 0; sleep 0.01; done;"
	    " exit 1");

	do {
		watch.calls  = 0;
		watch.enough = 0;
		loop(QUIET_MS);
	} while (watch.calls);
}


/* v0 and v1 are the ends of one cable */
static int setup(void **state)
{
	(void)state;

	memset(&watch, 0, sizeof(watch));

	if (!possible)
		return 0;

	run("ip link add v0 type veth peer name v1");
	run("ip addr add 10.9.0.1/24 dev v0");
	run("ip link set v1 up");
	run("ip link set v0 up");

	if (aa_netwatch_alloc(&watch.nw, net_handler, &watch))
		return -1;

	settle();

	return 0;
}


static int teardown(void **state)
{
	(void)state;

	watch.nw = mem_deref(watch.nw);
	if (possible)
		run("ip link del v0 2>/dev/null || true");

	return 0;
}


static int group_setup(void **state)
{
	(void)state;

	/* takes root, and a kernel that lets it */
	possible = 0 == unshare(CLONE_NEWNET) &&
		0 == system("ip link add v0 type veth peer name v1"
			    " 2>/dev/null && ip link del v0");
	if (!possible)
		print_message("no network namespace: tests left out\n");
	else
		/* its own addresses and routes would disturb the counting */
		(void)write_file("/proc/sys/net/ipv6/conf/default/"
				 "disable_ipv6", "1");

	return libre_init();
}


static int group_teardown(void **state)
{
	(void)state;

	aa_tmr_close();
	libre_close();

	return 0;
}


#define NEEDS_NETWORK()			\
	do {				\
		if (!possible)		\
			skip();		\
	} while (0)


/* ---- Tests ------------------------------------------------------------ */


static void test_arguments(void **state)
{
	struct aa_netwatch *nw = NULL;
	(void)state;

	assert_int_equal(EINVAL, aa_netwatch_alloc(NULL, net_handler, NULL));
	assert_int_equal(EINVAL, aa_netwatch_alloc(&nw, NULL, NULL));
	assert_null(nw);
}


static void test_descriptors(void **state)
{
	size_t n;
	int i;
	(void)state;

	watch.nw = mem_deref(watch.nw);
	loop(1);                /* it opens one of its own at first */
	n = count_fds();

	for (i=0; i<50; i++) {
		assert_int_equal(0, aa_netwatch_alloc(&watch.nw, net_handler,
						      &watch));
		if (i & 1)
			loop(1);
		assert_int_equal(n + 1, count_fds());
		watch.nw = mem_deref(watch.nw);
	}

	assert_int_equal(n, count_fds());
}


/* What is there at the start is no news */
static void test_start(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	watch.nw = mem_deref(watch.nw);
	assert_int_equal(0, aa_netwatch_alloc(&watch.nw, net_handler,
					      &watch));
	expect_nothing();
}


static void test_link(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	/* the far end of the cable */
	run("ip link set v1 down");
	expect(AA_NET_DOWN);
	run("ip link set v1 up");
	expect(AA_NET_UP);

	/* the interface itself */
	run("ip link set v0 down");
	expect(AA_NET_DOWN);
	run("ip link set v0 up");
	expect(AA_NET_UP);

	/* the link as a whole */
	run("ip link del v0");
	expect(AA_NET_DOWN);
}


static void test_link_trifles(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("ip link set v0 mtu 1400");
	run("ip link set v0 alias cable");
	run("ip link set v0 txqueuelen 77");
	run("ip link add v2 type veth peer name v3");
	run("ip link set v2 up");       /* v3 is not */
	expect_nothing();
	run("ip link del v2");
	expect_nothing();
}


static void test_address(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("ip addr add 10.9.0.2/24 dev v0");
	expect(AA_NET_UP);

	/* a renewed lease */
	run("ip addr change 10.9.0.2/24 dev v0 valid_lft 1000"
	    " preferred_lft 1000");
	run("ip addr change 10.9.0.1/24 dev v0 valid_lft 1000"
	    " preferred_lft 1000");
	expect_nothing();

	run("ip addr del 10.9.0.2/24 dev v0");
	expect(AA_NET_DOWN);
	run("ip addr add 10.9.0.2/24 dev v0");
	expect(AA_NET_UP);

	/* the same on another link is another one */
	run("ip addr add 10.9.0.2/24 dev v1 noprefixroute");
	expect(AA_NET_UP);
}


static void test_address_ip6(void **state)
{
	uint64_t t;
	(void)state;
	NEEDS_NETWORK();

	if (!write_file("/proc/sys/net/ipv6/conf/v0/disable_ipv6", "0"))
		skip();

	/* the link's own address */
	run("for i in $(seq 500); do ip -6 addr show dev v0 -tentative |"
	    " grep -q fe80 && exit 0; sleep 0.01; done; exit 1");
	settle();

	run("ip addr add fd09::1/64 dev v0 nodad");
	expect(AA_NET_UP);
	run("ip addr change fd09::1/64 dev v0 valid_lft 1000"
	    " preferred_lft 1000");
	expect_nothing();
	run("ip addr del fd09::1/64 dev v0");
	expect(AA_NET_DOWN);

	/* it takes a second to learn that nobody else has it */
	t = tmr_jiffies();
	run("ip addr add fd09::2/64 dev v0 noprefixroute");
	expect(AA_NET_UP);
	assert_in_range(watch.timev[0] - t, 800, WAIT_MS);
}


static void test_route(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("ip route add default via 10.9.0.254");
	expect(AA_NET_UP);
	run("ip route replace default via 10.9.0.253");
	expect(AA_NET_UP);

	/* for that, the failure of a server is the better news */
	run("ip route del default");
	expect_nothing();

	run("ip route add blackhole 10.8.0.0/24");
	run("ip route add local 10.7.0.1 dev v0");
	expect_nothing();
}


static void test_debounce(void **state)
{
	uint64_t t;
	(void)state;
	NEEDS_NETWORK();

	t = tmr_jiffies();
	run("for i in 2 3 4 5 6 7 8 9; do echo addr add 10.9.1.$i/24 dev v0;"
	    " done | ip -batch -");
	run("ip route add default via 10.9.0.254");
	expect(AA_NET_UP);
	assert_in_range(watch.timev[0] - t, 100, 1000);

	/* the latest comes last */
	run("printf 'addr add 10.9.2.1/24 dev v0\\n"
	    "addr del 10.9.1.2/24 dev v0\\n' | ip -batch -");
	expect_both(AA_NET_UP, AA_NET_DOWN);
	run("printf 'addr del 10.9.2.1/24 dev v0\\n"
	    "addr add 10.9.2.1/24 dev v0\\n' | ip -batch -");
	expect_both(AA_NET_DOWN, AA_NET_UP);
	run("printf 'addr add 10.9.3.1/24 dev v0\\n"
	    "addr del 10.9.3.1/24 dev v0\\n"
	    "addr add 10.9.3.1/24 dev v0\\n' | ip -batch -");
	expect_both(AA_NET_DOWN, AA_NET_UP);
	expect_nothing();
}


/* News without end are told while they come, not when they have ended */
static void test_steady(void **state)
{
	size_t i;
	(void)state;
	NEEDS_NETWORK();

	run("for i in $(seq 2 25); do ip addr add 10.9.4.$i/32 dev v0;"
	    " sleep 0.03; done >/dev/null 2>&1 &");
	watch.calls  = 0;
	watch.enough = 4;
	loop(WAIT_MS);
	/* one call each 100 ms, four while they come */
	assert_int_equal(4, watch.calls);
	for (i=1; i<4; i++)
		assert_true(watch.timev[i] - watch.timev[i - 1] >= 99);

	settle();
}


/* More than the socket holds: nothing may be believed to be unchanged */
static void test_overflow(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("for a in 1 2 3 4; do for i in $(seq 200); do"
	    " echo addr add 10.10.$a.$i/32 dev v0; done; done | ip -batch -");
	expect(AA_NET_UP);

	/* all of them are known now */
	run("ip addr change 10.10.4.200/32 dev v0 valid_lft 1000"
	    " preferred_lft 1000");
	expect_nothing();

	run("for a in 1 2 3 4; do for i in $(seq 200); do"
	    " echo addr del 10.10.$a.$i/32 dev v0; done; done | ip -batch -");
	settle();

	run("ip addr add 10.10.4.200/32 dev v0");
	expect(AA_NET_UP);
	run("ip addr del 10.10.4.200/32 dev v0");
	expect(AA_NET_DOWN);
}


static void test_free_in_handler(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	watch.free = true;
	run("printf 'addr add 10.9.2.1/24 dev v0\\n"
	    "addr del 10.9.2.1/24 dev v0\\n' | ip -batch -");
	expect(AA_NET_UP);
	assert_null(watch.nw);
}


static void test_free_while_pending(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("ip addr add 10.9.2.1/24 dev v0");
	watch.enough = 1;
	loop(20);
	watch.nw = mem_deref(watch.nw);
	expect_nothing();
}


/* What is held back is not late by as much */
static void test_clock_put_back(void **state)
{
	(void)state;
	NEEDS_NETWORK();

	run("ip addr add 10.9.2.1/24 dev v0");
	watch.enough = 1;
	loop(20);

	/* unless all of this has taken longer than it is held back */
	if (!watch.calls)
		loop_clock_set(-3600, 5);

	assert_int_equal(1, watch.calls);
	assert_int_equal(AA_NET_UP, watch.callv[0]);
}


int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		T(test_descriptors),
		T(test_start),
		T(test_link),
		T(test_link_trifles),
		T(test_address),
		T(test_address_ip6),
		T(test_route),
		T(test_debounce),
		T(test_steady),
		T(test_overflow),
		T(test_free_in_handler),
		T(test_free_while_pending),
		T(test_clock_put_back),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
