/*
 * echo.c - announces a channel rpmsg-tty, and sends back what it receives there. For the
 * virtual board; sim/vm/bridge has the map of its registers.
 *
 * A table with a virtio device is not the SDK's, so nothing here is.
 */
#include <stdint.h>

#define REG32(a) (*(volatile uint32_t *)(a))
#define barrier() __asm volatile("dmb" ::: "memory")

/* The core's side of the STM32MP1's mailbox. */
#define IPCC_OCCUPIED REG32(0x60F0100C) /* channels that Linux has filled */
#define IPCC_SCR REG32(0x60F01018)      /* 31:16 fills ours, 15:0 frees those of Linux */
#define VQ0_CHANNEL (1u << 16)
#define SHUTDOWN_CHANNEL (1u << 2)

/* include/uapi/linux/virtio_ring.h, rpmsg/virtio_rpmsg_bus.c */
enum { ENTRIES = 16, ALIGN = 16, DRIVER_OK = 4, NAME_SERVICE = 53, ADDRESS = 0x400 };
struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct avail { uint16_t flags, idx, ring[ENTRIES]; };
struct used { uint16_t flags, idx; struct { uint32_t id, len; } ring[ENTRIES]; };
struct message { uint32_t src, dst, reserved; uint16_t len, flags; uint8_t data[]; };
struct announcement { char name[32]; uint32_t addr, flags; };

static volatile char trace[1024] __attribute__((section(".trace")));
static uint32_t position;

/* include/linux/remoteproc.h; each resource with its type before it */
struct vring { uint32_t da, align, num, notifyid, pa; };
__attribute__((section(".resource_table"), used)) static volatile struct {
	uint32_t version, entries, reserved[2], offset[2];
	struct { uint32_t type, da, len, reserved; char name[32]; } trace;
	struct {
		uint32_t type, id, notifyid, dfeatures, gfeatures, config_len;
		uint8_t status, vrings, reserved[2];
		struct vring vring[2];
	} vdev;
} table = {
	.version = 1, .entries = 2, .offset = {24, 24 + 48},
	.trace = {2, (uint32_t)trace, sizeof(trace), 0, "console"},
	.vdev = {3, 7 /* rpmsg */, 0, 1 /* name service */, 0, 0, 0, 2, {0, 0},
		{{0xffffffff, ALIGN, ENTRIES, 0, 0}, {0xffffffff, ALIGN, ENTRIES, 1, 0}}},
};
_Static_assert(__builtin_offsetof(__typeof__(table), vdev) == 24 + 48, "offset of the virtio device");

static void say(const char *s)
{
	while (*s && position < sizeof(trace) - 1)
		trace[position++] = *s++;
}

static volatile struct desc *descs(int q) { return (void *)table.vdev.vring[q].da; }
static volatile struct avail *avail(int q) { return (void *)(table.vdev.vring[q].da + ENTRIES * sizeof(struct desc)); }
static volatile struct used *used(int q)
{
	uint32_t end = (uint32_t)avail(q) + sizeof(struct avail) + 2; /* used_event */
	return (void *)((end + ALIGN - 1) & ~(ALIGN - 1u));
}

static void give_back(int q, uint16_t id, uint32_t len)
{
	volatile struct used *u = used(q);
	u->ring[u->idx % ENTRIES].id = id;
	u->ring[u->idx % ENTRIES].len = len;
	barrier();
	u->idx++;
	barrier();
}

/* send waits for a buffer; Linux gives them all at first, and back when it has read. */
static void send(uint32_t src, uint32_t dst, const volatile uint8_t *data, uint16_t len)
{
	static uint16_t next;
	while (avail(0)->idx == next)
		;
	uint16_t id = avail(0)->ring[next++ % ENTRIES];
	volatile struct message *m = (void *)(uint32_t)descs(0)[id].addr;
	m->src = src;
	m->dst = dst;
	m->reserved = 0;
	m->len = len;
	m->flags = 0;
	for (uint16_t i = 0; i < len; i++)
		m->data[i] = data[i];
	barrier();
	give_back(0, id, sizeof(*m) + len);
	while (IPCC_SCR)
		; /* what was written before has not been seen yet */
	IPCC_SCR = VQ0_CHANNEL;
}

static void poll(void)
{
	static int announced;
	static uint16_t next;
	uint32_t channels = IPCC_OCCUPIED & 0xf;
	if (channels) {
		while (IPCC_SCR)
			;
		IPCC_SCR = channels;
		if (channels & SHUTDOWN_CHANNEL)
			for (;;)
				__asm volatile("wfi");
	}
	if (!(table.vdev.status & DRIVER_OK))
		return;
	if (!announced) {
		struct announcement a = {"rpmsg-tty", ADDRESS, 0};
		announced = 1;
		send(ADDRESS, NAME_SERVICE, (void *)&a, sizeof(a));
		say("announced\n");
	}
	while (avail(1)->idx != next) {
		uint16_t id = avail(1)->ring[next++ % ENTRIES];
		volatile struct message *m = (void *)(uint32_t)descs(1)[id].addr;
		send(m->dst, m->src, m->data, m->len);
		give_back(1, id, 0);
	}
}

extern char bss_start[], bss_end[], stack_top[];

void *memset(void *to, int c, unsigned n)
{
	for (char *p = to; n--; p++)
		*p = c;
	return to;
}

void *memcpy(void *to, const void *from, unsigned n)
{
	const char *f = from;
	for (char *p = to; n--; p++)
		*p = *f++;
	return to;
}

static void tick(void) {}

static void fault(void)
{
	say("fault\n");
	REG32(0x60F00200) = 1; /* the watchdog bites */
	for (;;)
		__asm volatile("wfi");
}

void reset(void)
{
	memset(bss_start, 0, bss_end - bss_start);
	for (uint32_t i = 0; i < sizeof(trace); i++)
		trace[i] = 0;
	say("echo\n");
	REG32(0xE000E014) = 25000 - 1; /* SysTick: every millisecond of QEMU's mps2-an500 */
	REG32(0xE000E018) = 0;
	REG32(0xE000E010) = 7;
	for (;;) {
		__asm volatile("wfi");
		poll();
	}
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
	stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, tick,
};
