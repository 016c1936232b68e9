/* hosts: several hosts on one machine, for the tests of many processes and the figures of docs/distributed.md.
 *
 *     hosts N GBIT US COMMAND...
 *
 * makes N hosts, each with a name (host1 …), a network namespace and an address of its own (10.77.0.1 …), behind a switch with
 * links of GBIT Gbit/s in each direction and US microseconds from any host to any other, and runs COMMAND on the first of
 * them. mpirun reaches the others by tests/mpi/enter.sh (plm_rsh_agent). Exit status: the command's; 77: this machine, or
 * this user, cannot have such hosts. SIGUSR1 pulls the last host's cable.
 *
 * The switch is this program: a host's interface is a TUN device, whose packets it hands on when rate and delay say so.
 * (veth, a bridge and netem would do the same where the kernel has netem; many have not.) Packets may be segments of
 * 64 KiB, as between a host and its network card. The command and all that comes of it live in a process namespace, and
 * interfaces and namespaces hang on file descriptors: whatever kills this program, nothing is left of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    HOSTS = 16,
    CANNOT = 77,
    PLACES = 100,        /* descriptors of host k's namespaces are PLACES + 2k and the next one: enter.sh knows */
    PACKET = 66 * 1024,  /* the largest, with what stands before it */
    QUEUE = 2048,        /* packets under way to a host */
    ADDRESS_AT = 10 + 19 /* the last byte of the address to which a packet goes: behind struct virtio_net_hdr */
};
#define AHEAD 200e-6 /* seconds of its link that a host may have sent ahead: then it has to wait */
#define LINGER 30    /* seconds that the command has after a signal */

static struct {
    int fd;
    double out, in; /* when its link is free: from it, to it */
    int64_t first, end;
    struct {
        double at;
        int bytes;
        char *data;
    } packet[QUEUE]; /* on their way to it: [first, end), a ring */
} host[HOSTS + 1];
static int hosts;
static double rate, delay; /* bytes/s, s */
static volatile sig_atomic_t cut, asked;
static long long packets, bytes;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int cannot(const char *what) {
    fprintf(stderr, "hosts: %s: %s\n", what, strerror(errno));
    return -1;
}

/* ---- a host ---- */

/* Its name, and interfaces that are up, in the namespace in which we are. */
static int settle(int k) {
    char name[16];
    struct ifreq r = {.ifr_name = "net0", .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR}, lo = {.ifr_name = "lo"};
    struct sockaddr_in a = {.sin_family = AF_INET};
    snprintf(name, sizeof name, "host%d", k);
    if (sethostname(name, strlen(name)) < 0) return cannot("a host's name");
    host[k].fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (host[k].fd < 0 || ioctl(host[k].fd, TUNSETIFF, &r) < 0) return cannot("/dev/net/tun");
    if (ioctl(host[k].fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) return cannot("TUNSETOFFLOAD");
    const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(0x0a4d0000u + (unsigned)k);
    memcpy(&r.ifr_addr, &a, sizeof a);
    int bad = ioctl(s, SIOCSIFADDR, &r);
    a.sin_addr.s_addr = htonl(0xffffff00u);
    memcpy(&r.ifr_netmask, &a, sizeof a);
    bad |= ioctl(s, SIOCSIFNETMASK, &r);
    lo.ifr_flags = r.ifr_flags = IFF_UP | IFF_RUNNING;
    bad |= ioctl(s, SIOCSIFFLAGS, &r) | ioctl(s, SIOCSIFFLAGS, &lo);
    close(s);
    return bad ? cannot("a host's interface") : 0;
}

/* We stay in the last one's: a switch has no need of a place. */
static int make_hosts(void) {
    for (int k = 1; k <= hosts; k++) {
        if (unshare(CLONE_NEWNET | CLONE_NEWUTS) < 0) return cannot("a network namespace");
        if (settle(k) < 0) return -1;
        static const char *const kinds[] = {"/proc/self/ns/net", "/proc/self/ns/uts"};
        for (int i = 0; i < 2; i++) {
            const int fd = open(kinds[i], O_RDONLY);
            if (fd < 0 || dup3(fd, PLACES + 2 * k + i, O_CLOEXEC) < 0) return cannot(kinds[i]);
            close(fd);
        }
        host[k].packet[0].data = malloc((size_t)QUEUE * PACKET); /* touched where packets come to lie */
        if (!host[k].packet[0].data) return cannot("packets");
        for (int i = 1; i < QUEUE; i++) host[k].packet[i].data = host[k].packet[0].data + (size_t)i * PACKET;
    }
    return 0;
}

/* ---- the switch ---- */

static bool silent(int k) {
    return cut && k == hosts;
}

/* What a host has sent, until it is ahead of its link. Returns how many packets. */
static int take(int from, double t) {
    static char *spare;
    if (!spare) spare = calloc(1, PACKET);
    if (!spare) return 0;
    int n = 0;
    while (host[from].out - t < AHEAD) {
        const int64_t got = read(host[from].fd, spare, PACKET);
        if (got <= ADDRESS_AT) return n;
        const int to = (unsigned char)spare[ADDRESS_AT];
        n++;
        if (to < 1 || to > hosts || to == from || silent(from) || silent(to)) continue;
        if (host[to].end - host[to].first == QUEUE) continue; /* lost, as in any switch */
        const double takes = (double)got / rate;
        host[from].out = (host[from].out > t ? host[from].out : t) + takes;
        host[to].in = host[to].in + takes > host[from].out ? host[to].in + takes : host[from].out;
        const int i = (int)(host[to].end++ % QUEUE);
        host[to].packet[i].at = host[to].in + delay;
        host[to].packet[i].bytes = (int)got;
        char *const free_now = host[to].packet[i].data; /* change places: nothing is copied */
        host[to].packet[i].data = spare;
        spare = free_now;
        packets++;
        bytes += got;
    }
    return n;
}

/* What has arrived by now; returns when the next will have. */
static double deliver(int to, double t) {
    while (host[to].first < host[to].end) {
        const int i = (int)(host[to].first % QUEUE);
        if (host[to].packet[i].at > t) return host[to].packet[i].at;
        if (!silent(to) && write(host[to].fd, host[to].packet[i].data, (size_t)host[to].packet[i].bytes) < 0 &&
            errno == EAGAIN)
            return t + 1e-4;
        host[to].first++;
    }
    return t + 0.1;
}

static void pass_on(void) {
    struct pollfd polled[HOSTS];
    const double t = now();
    double next = t + 0.1;
    int n = 0;
    for (int k = 1; k <= hosts; k++) {
        take(k, t);
        const bool ahead = host[k].out - t >= AHEAD;
        if (ahead && host[k].out - AHEAD < next) next = host[k].out - AHEAD;
        if (!ahead) polled[n++] = (struct pollfd){.fd = host[k].fd, .events = POLLIN};
    }
    for (int k = 1; k <= hosts; k++) {
        const double at = deliver(k, t);
        next = at < next ? at : next;
    }
    const double left = next - now();
    const struct timespec wait = {.tv_nsec = left > 0 ? (long)(1e9 * left) : 0};
    if (left > 0) ppoll(polled, (nfds_t)n, &wait, NULL);
}

/* ---- the command ---- */

static pid_t inner;

static void hand_on(int signal_number) {
    if (inner > 0) kill(inner, signal_number);
}

/* The first process of a namespace of processes: when it ends, all in it are killed. */
static int live(char **command) {
    int status = 0, its = 1;
    pid_t pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGUSR1, SIG_IGN);
    if (setns(PLACES + 2, CLONE_NEWNET) < 0 || setns(PLACES + 3, CLONE_NEWUTS) < 0) return CANNOT;
    /* Its processes have small numbers, again and again: what clang's OpenMP leaves in shared memory by the number of one that
     * is killed must not meet the next. */
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL) < 0)
        return cannot("shared memory of their own"), CANNOT;
    inner = fork();
    if (inner == 0) {
        signal(SIGUSR1, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        execvp(command[0], command);
        fprintf(stderr, "hosts: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    signal(SIGINT, hand_on);
    signal(SIGTERM, hand_on);
    while ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR) {
        if (pid == inner) {
            its = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            break;
        }
    }
    return its;
}

static void on_signal(int signal_number) {
    if (signal_number == SIGUSR1)
        cut = 1;
    else
        asked = signal_number;
}

static int run(char **command) {
    int status = 0;
    double until = 0;
    char pid[24];
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("HOSTS_PID", pid, 1);
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0) return cannot("namespaces of processes and mounts"), CANNOT;
    const pid_t child = fork();
    if (child == 0) _exit(live(command));
    if (child < 0) return cannot("fork"), CANNOT;
    /* The switch is a machine of its own: it does not wait behind those who compute. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    prctl(PR_SET_TIMERSLACK, 1000);
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (asked && until == 0) {
            kill(child, asked);
            until = now() + LINGER;
        }
        if (until > 0 && now() > until) kill(child, SIGKILL);
        pass_on();
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static double core_seconds(int who) {
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    if (argc < 5 || (hosts = atoi(argv[1])) < 1 || hosts > HOSTS || !(atof(argv[2]) > 0) || !(atof(argv[3]) >= 0)) {
        fprintf(stderr, "usage: hosts N GBIT US COMMAND...    (N: 1 to %d)\n", HOSTS);
        return 2;
    }
    rate = atof(argv[2]) * 1e9 / 8;
    delay = atof(argv[3]) * 1e-6;
    signal(SIGUSR1, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (make_hosts() < 0) return CANNOT;
    const int status = run(argv + 4);
    fprintf(stderr, "hosts: %lld packets, %.1f MB; seconds of a core: the switch %.2f, all else %.2f\n", packets,
            (double)bytes / 1e6, core_seconds(RUSAGE_SELF), core_seconds(RUSAGE_CHILDREN));
    return status;
}
