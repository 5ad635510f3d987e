/* The load of every rival: N websockets on loopback that steer by one script and time what comes back.
 *
 *   generator --port P --clients N --plan FILE --protocol overworld|colyseus|plain|floor --inputs hz20|change
 *             [--rate joins/s] [--warm s] [--window s] [--join s] [--seed n]
 *
 * A line of the plan is one client: "PATH PROBE HELLO", the request path, 1 where the server acks its inputs by messages
 * of their own, and the first message in hex ("-": none). Prints "window" when the measured time begins and one line of
 * JSON when it is over. Nothing is decoded but frame borders, the kind of a message, acks, and Overworld's tick number.
 */
#include "frames.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING, OPENING, GREETING, QUEUED, PLAYING, CLOSED };
enum { OVERWORLD, COLYSEUS, PLAIN, FLOOR };
enum { SLOTS = 2048, RING = 64, BIN_NS = 100000, BINS = 50000, IN_FLIGHT_MAX = 100, READ_MAX = 1 << 18 };
#define MS 1000000ull
#define SECOND 1000000000ull

typedef struct Client {
    int fd, state, probe;
    char *path;
    uint8_t *hello, *rest; /* rest: the begin of a frame whose end has not come */
    size_t hello_size, rest_size, rest_room;
    uint32_t seq, acked, tick, updates, angle;
    uint64_t random, turn_ns, updated_ns, sent_ns[RING];
    struct Client *next; /* in its slot of the wheel */
} Client;

static Client *clients;
static Client *wheel[SLOTS];
static uint64_t wheel_ms;
static int count, protocol, steady, epoll;
static int joined, in_flight, closed_count, closes[8], close_codes[8];
static int measuring;
static uint64_t began_ns, updates, bytes, messages, inputs, gaps[BINS], gap_count, waits[BINS], wait_count;
static double gap_max_ms;
static uint8_t input[READ_MAX];

static uint32_t draw(Client *c, uint32_t below)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)((c->random >> 11) % below);
}

static void drop(Client *c, int code)
{
    if (c->state == CLOSED)
        return;
    if (c->state == OPENING || c->state == GREETING)
        in_flight--;
    close(c->fd);
    c->state = CLOSED;
    closed_count++;
    for (int i = 0; i < 8; i++)
        if (close_codes[i] == code || closes[i] == 0) {
            close_codes[i] = code;
            closes[i]++;
            break;
        }
}

static void put(Client *c, const uint8_t *data, size_t size)
{
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)size)
        drop(c, -1); /* a server that does not even read its inputs holds nobody */
}

static void schedule(Client *c, uint64_t at_ns)
{
    uint64_t ms = at_ns / MS;
    if (ms <= wheel_ms)
        ms = wheel_ms + 1;
    c->next = wheel[ms % SLOTS];
    wheel[ms % SLOTS] = c;
}

static size_t varint(uint8_t *out, uint32_t value)
{
    size_t n = 0;
    for (; value > 127; value >>= 7)
        out[n++] = (uint8_t)(value | 128);
    out[n++] = (uint8_t)value;
    return n;
}

/* ClientMessage{input: Input{seq, kind 0, values [angle, true], seen_tick}} of client.proto. */
static size_t overworld_input(uint8_t *out, const Client *c)
{
    uint8_t body[32], values[8];
    size_t n = 0, v = varint(values, c->angle * 2);
    values[v++] = 2;
    body[n++] = 1 << 3;
    n += varint(body + n, c->seq);
    body[n++] = 3 << 3 | 2;
    body[n++] = (uint8_t)v;
    memcpy(body + n, values, v);
    n += v;
    if (c->tick) {
        body[n++] = 4 << 3;
        n += varint(body + n, c->tick);
    }
    out[0] = 2 << 3 | 2;
    out[1] = (uint8_t)n;
    memcpy(out + 2, body, n);
    return n + 2;
}

static void steer(Client *c, uint64_t now)
{
    uint8_t payload[64], frame[80];
    size_t n = 0;
    if (now >= c->turn_ns) {
        c->angle = draw(c, 256);
        c->turn_ns = now + 500 * MS + draw(c, 500) * MS;
    }
    c->seq++;
    c->sent_ns[c->seq % RING] = now;
    if (protocol == OVERWORLD)
        n = overworld_input(payload, c);
    else {
        if (protocol == COLYSEUS)
            payload[n++] = 17; /* ROOM_DATA_BYTES, then the message type: number 0 */
        payload[n++] = protocol == COLYSEUS ? 0 : 1;
        memcpy(payload + n, &c->seq, 4);
        payload[n + 4] = (uint8_t)c->angle;
        n += 5;
        while (protocol == FLOOR && n < 18)
            payload[n++] = 0;
    }
    put(c, frame, write_frame(frame, 2, payload, n, 1));
    inputs += measuring;
    if (c->state == PLAYING)
        schedule(c, steady ? now + 50 * MS : c->turn_ns);
}

static void play(Client *c, uint64_t now)
{
    c->state = PLAYING;
    in_flight--;
    joined++;
    c->turn_ns = now;
    schedule(c, now + draw(c, steady ? 50 : 1000) * MS);
}

static void note(uint64_t *bins, uint64_t *total, uint64_t ns)
{
    uint64_t bin = ns / BIN_NS;
    bins[bin < BINS ? bin : BINS - 1]++;
    ++*total;
}

static void updated(Client *c, uint64_t now)
{
    if (measuring) {
        updates++;
        c->updates++;
        if (c->updated_ns) {
            double ms = (double)(now - c->updated_ns) / 1e6;
            note(gaps, &gap_count, now - c->updated_ns);
            gap_max_ms = ms > gap_max_ms ? ms : gap_max_ms;
        }
    }
    c->updated_ns = now;
}

static void acked(Client *c, uint32_t seq, uint64_t now)
{
    if (seq > c->seq)
        return;
    uint32_t first = c->acked + 1;
    if (seq >= RING && first < seq - RING + 1)
        first = seq - RING + 1;
    for (uint32_t s = first; s <= seq; s++)
        if (measuring && c->sent_ns[s % RING] >= began_ns)
            note(waits, &wait_count, now - c->sent_ns[s % RING]);
    if (seq > c->acked)
        c->acked = seq;
}

static uint64_t get_varint(const uint8_t *data, size_t size, size_t *at)
{
    uint64_t value = 0;
    for (int shift = 0; *at < size && shift < 64; shift += 7) {
        uint8_t byte = data[(*at)++];
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    return value;
}

/* Field `wanted` of the message data[size] where all fields are varints; 0 where it is absent. */
static uint64_t field(const uint8_t *data, size_t size, uint32_t wanted)
{
    for (size_t at = 0; at < size;) {
        uint64_t key = get_varint(data, size, &at), value = get_varint(data, size, &at);
        if (key == wanted << 3)
            return value;
    }
    return 0;
}

/* A Frame: a bag of length-delimited pieces; 1 is a TickHead, 5 an Ack. Others are stepped over. */
static void overworld_message(Client *c, const uint8_t *data, size_t size, uint64_t now)
{
    for (size_t at = 0; at < size;) {
        uint8_t key = data[at++];
        size_t length = (size_t)get_varint(data, size, &at);
        if ((key & 7) != 2 || length > size - at)
            return drop(c, -2);
        if (key == (1 << 3 | 2)) {
            c->tick = (uint32_t)field(data + at, length, 3);
            updated(c, now);
        } else if (key == (5 << 3 | 2))
            acked(c, (uint32_t)field(data + at, length, 1), now);
        at += length;
    }
}

static void message(Client *c, const uint8_t *data, size_t size, uint64_t now)
{
    static const uint8_t ready[1] = {10};
    uint8_t frame[16];
    uint32_t seq;
    if (protocol == OVERWORLD && (c->state == GREETING || c->state == QUEUED)) {
        /* Until the Welcome (piece 7 of the bag) there are notices: the world has no room yet. */
        int welcome = size > 0 && data[0] == (7 << 3 | 2);
        if (c->state == (welcome ? QUEUED : GREETING))
            in_flight += welcome ? 1 : -1;
        c->state = QUEUED;
        if (welcome)
            play(c, now);
        return;
    }
    if (c->state == GREETING) {
        if (protocol == COLYSEUS)
            put(c, frame, write_frame(frame, 2, ready, 1, 1));
        if (c->state == GREETING)
            play(c, now);
        return;
    }
    if (size == 0)
        return;
    if (protocol == OVERWORLD)
        return overworld_message(c, data, size, now);
    if (data[0] == (protocol == COLYSEUS ? 15 : 1))
        updated(c, now);
    else if (data[0] == (protocol == COLYSEUS ? 17 : 2) && size >= 5) {
        memcpy(&seq, data + size - 4, 4);
        acked(c, seq, now);
    }
}

static void framed(Client *c, const Frame *f, uint64_t now)
{
    uint8_t pong[160];
    if (measuring) {
        bytes += f->total;
        messages++;
    }
    if (f->opcode == 8)
        drop(c, f->size >= 2 ? f->payload[0] << 8 | f->payload[1] : 1005);
    else if (f->opcode == 9 && f->size < 126)
        put(c, pong, write_frame(pong, 10, f->payload, f->size, 1));
    else if (f->opcode <= 2)
        message(c, f->payload, f->size, now);
}

static size_t upgraded(Client *c, const uint8_t *data, size_t size, uint64_t now)
{
    uint8_t frame[4096];
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (size < 12 || memcmp(data + 9, "101", 3) != 0) {
        drop(c, size >= 12 ? atoi((const char *)data + 9) : -3);
        return size;
    }
    c->state = GREETING;
    if (c->hello_size)
        put(c, frame, write_frame(frame, 2, c->hello, c->hello_size, 1));
    if (protocol >= PLAIN && c->state == GREETING)
        play(c, now);
    return (size_t)(end + 4 - data);
}

static void readable(Client *c)
{
    size_t held = c->rest_size, at = 0;
    Frame f;
    memcpy(input, c->rest, held);
    ssize_t got = recv(c->fd, input + held, READ_MAX - held, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        return drop(c, 1006);
    uint64_t now = now_ns();
    size_t size = held + (size_t)got;
    if (c->state == OPENING)
        at = upgraded(c, input, size, now);
    while (c->state != CLOSED && c->state != OPENING && read_frame(input + at, size - at, &f)) {
        framed(c, &f, now);
        at += f.total;
    }
    c->rest_size = size - at;
    if (c->rest_size > c->rest_room) {
        c->rest_room = c->rest_size * 2;
        c->rest = realloc(c->rest, c->rest_room);
    }
    memcpy(c->rest, input + at, c->rest_size);
}

static void open_socket(Client *c, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    char request[1024];
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0)
        fail("socket");
    c->state = OPENING;
    in_flight++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        return drop(c, -4);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     c->path, port);
    put(c, (uint8_t *)request, (size_t)n);
    if (c->state == OPENING && epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
}

static void read_plan(const char *name, uint64_t seed)
{
    FILE *file = fopen(name, "r");
    char *line = NULL;
    size_t room = 0;
    if (file == NULL)
        fail(name);
    for (int i = 0; i < count; i++) {
        Client *c = clients + i;
        ssize_t size = getline(&line, &room, file);
        char *path = size > 0 ? strtok(line, " \n") : NULL, *probe = strtok(NULL, " \n"), *hello = strtok(NULL, " \n");
        if (hello == NULL) {
            fprintf(stderr, "the plan has fewer than %d clients\n", count);
            exit(1);
        }
        c->path = strdup(path);
        c->probe = atoi(probe);
        c->random = (seed + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)i * 0xbf58476d1ce4e5b9ull + 1;
        c->hello_size = hello[0] == '-' ? 0 : strlen(hello) / 2;
        c->hello = malloc(c->hello_size + 1);
        for (size_t k = 0; k < c->hello_size; k++)
            sscanf(hello + 2 * k, "%2hhx", c->hello + k);
        for (int warm = 0; warm < 8; warm++)
            draw(c, 2);
    }
    free(line);
    fclose(file);
}

static void turn_wheel(uint64_t now)
{
    for (; wheel_ms < now / MS; wheel_ms++) {
        Client *c = wheel[wheel_ms % SLOTS];
        wheel[wheel_ms % SLOTS] = NULL;
        while (c != NULL) {
            Client *next = c->next;
            if (c->state == PLAYING)
                steer(c, now);
            c = next;
        }
    }
}

static double quantile_ms(const uint64_t *bins, uint64_t total, double share)
{
    uint64_t below = 0;
    for (int i = 0; i < BINS; i++) {
        below += bins[i];
        if (total && (double)below >= share * (double)total)
            return (i + 1) * (BIN_NS / 1e6);
    }
    return -1;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(double window_s, double cpu)
{
    uint32_t fewest = UINT32_MAX;
    uint64_t now = now_ns();
    for (int i = 0; i < count; i++) {
        Client *c = clients + i;
        if (c->state != PLAYING)
            continue;
        fewest = c->updates < fewest ? c->updates : fewest;
        if (now - c->updated_ns > 100 * MS) /* a gap that has not ended is one all the same */
            note(gaps, &gap_count, now - c->updated_ns);
    }
    printf("{\"clients\":%d,\"joined\":%d,\"closed\":%d,\"window_s\":%.3f,\"updates\":%llu,\"fewest\":%u,"
           "\"bytes\":%llu,\"messages\":%llu,\"inputs\":%llu,\"gap_ms_p50\":%.1f,\"gap_ms_p99\":%.1f,"
           "\"gap_ms_max\":%.1f,\"effects\":%llu,\"effect_ms_p50\":%.1f,\"effect_ms_p99\":%.1f,\"generator_cpu\":%.3f,"
           "\"closes\":{",
           count, joined, closed_count, window_s, (unsigned long long)updates, fewest == UINT32_MAX ? 0 : fewest,
           (unsigned long long)bytes, (unsigned long long)messages, (unsigned long long)inputs,
           quantile_ms(gaps, gap_count, 0.5), quantile_ms(gaps, gap_count, 0.99), gap_max_ms,
           (unsigned long long)wait_count, quantile_ms(waits, wait_count, 0.5), quantile_ms(waits, wait_count, 0.99),
           cpu / window_s);
    for (int i = 0, first = 1; i < 8; i++)
        if (closes[i]) {
            printf("%s\"%d\":%d", first ? "" : ",", close_codes[i], closes[i]);
            first = 0;
        }
    printf("}}\n");
}

int main(int argc, char **argv)
{
    static const char *protocols[] = {"overworld", "colyseus", "plain", "floor"};
    const char *named = option(argc, argv, "--protocol", "plain");
    int port = (int)number(argc, argv, "--port", "0"), opened = 0;
    double rate = number(argc, argv, "--rate", "300"), cpu = 0;
    uint64_t warm = (uint64_t)(number(argc, argv, "--warm", "3") * 1e9);
    uint64_t window = (uint64_t)(number(argc, argv, "--window", "5") * 1e9);
    uint64_t patience = (uint64_t)(number(argc, argv, "--join", "60") * 1e9), start, full = 0;
    struct epoll_event events[512];
    count = (int)number(argc, argv, "--clients", "1");
    steady = strcmp(option(argc, argv, "--inputs", "hz20"), "hz20") == 0;
    for (protocol = 0; protocol < FLOOR && strcmp(protocols[protocol], named) != 0;)
        protocol++;
    clients = calloc((size_t)count, sizeof *clients);
    read_plan(option(argc, argv, "--plan", "plan"), (uint64_t)number(argc, argv, "--seed", "1"));
    epoll = epoll_create1(0);
    start = now_ns();
    wheel_ms = start / MS;
    for (;;) {
        uint64_t now = now_ns();
        while (opened < count && in_flight < IN_FLIGHT_MAX && opened < (double)(now - start) / 1e9 * rate)
            open_socket(clients + opened++, port);
        if (!full && (joined + closed_count >= count || now - start > patience))
            full = now;
        if (full && !measuring && now - full >= warm) {
            measuring = 1;
            began_ns = now;
            cpu = cpu_s();
            printf("window\n");
            fflush(stdout);
        }
        if (measuring && now - began_ns >= window)
            break;
        turn_wheel(now);
        int ready = epoll_wait(epoll, events, 512, 1);
        for (int i = 0; i < ready; i++) {
            Client *c = events[i].data.ptr;
            if (c->state != CLOSED)
                readable(c);
        }
    }
    report((double)(now_ns() - began_ns) / 1e9, cpu_s() - cpu);
    return 0;
}
