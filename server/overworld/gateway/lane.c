/* The gateway's lane: reads inputs from many game sockets and writes frames to them, without the interpreter in between.
 *
 * Called from one thread, by `gateway/lane.py` through ctypes; needs a C library and Linux's epoll, nothing of Python.
 * It takes what is exactly as it should be: one short websocket frame with one Input, numbered on, within bounds and
 * within the rate. Bytes of anything else are handed over as they came ("raw"), and judged by the same code that judges
 * them where there is no lane; `track` follows the frames in them, so that the lane knows where the next one begins.
 *
 * Out of memory ends the process, as it would end an interpreter's.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    CHUNK_BYTES = 4096,
    INPUTS_MAX = 4096,
    VALUES_MAX = 65536,
    HEADROOM_BYTES = 14,
    SHORT_BYTES_MAX = 125,
    ACK_BYTES_MAX = 64,
};
#define ALONE 0x82 /* FIN, binary, no reserved bits */
#define MASKED 0x80
#define INPUT_TAG 0x12
#define ACK_TAG 0x2a
#define SEQ_TAG 0x08

/* Where a client's byte stream stands. All zero: between two messages. */
struct track {
    uint64_t left; /* of the payload */
    uint8_t head[HEADROOM_BYTES];
    uint8_t head_bytes;
    uint8_t fragmented; /* a message has begun, and not ended */
};

/* One session: its socket, and the numbering of its inputs (the twin of `gateway/line.InputLine`). */
struct line {
    struct track track;
    int64_t session;
    double tokens, taken_s, heard_s;
    const uint8_t *extra;
    int64_t extra_bytes;
    uint8_t *ring; /* inputs not yet acked, by number */
    uint32_t last_sent, applied, ack;
    int32_t shard; /* whose worker serves it; -1: nobody, and its inputs are not for the lane */
    int fd;        /* our own duplicate: its number cannot become another client's */
    uint8_t used, blocked, acking;
};

struct input {
    uint32_t seq, kind, seen_tick, due_tick;
    int32_t values[];
};

struct lane {
    /* What `lane_read` found, for Python to look at. */
    int64_t sessions[INPUTS_MAX];
    int32_t shards[INPUTS_MAX];
    uint32_t seqs[INPUTS_MAX], kinds[INPUTS_MAX], seen_ticks[INPUTS_MAX], counts[INPUTS_MAX], due_ticks[INPUTS_MAX];
    int32_t values[VALUES_MAX];
    int32_t raw_slots[EVENTS_MAX], raw_bytes[EVENTS_MAX];
    uint8_t raw[EVENTS_MAX * CHUNK_BYTES];
    int64_t inputs, values_count, raws, events;
    /* What `lane_send` could not send. */
    int32_t *left_slots;
    int64_t *left_ends;
    uint8_t *left;
    int64_t lefts, lefts_room, left_room;
    /* Inside. */
    int epoll;
    struct line *lines;
    int32_t lines_room;
    uint8_t *scratch;
    int64_t scratch_room;
    int64_t input_bytes;
    uint32_t waiting_max, kinds_count;
    int64_t payload_max;
    double rate, burst;
    const int32_t *field_counts, *low, *high;
    int32_t *field_starts;
};

static void *room(void *old, size_t bytes)
{
    void *made = realloc(old, bytes ? bytes : 1);
    if (!made)
        abort();
    return made;
}

/* `field_counts` int32[kinds], `low` and `high` int32[sum of them], flat; all must outlive the lane. NULL without epoll. */
struct lane *lane_new(uint32_t kinds, const int32_t *field_counts, const int32_t *low, const int32_t *high,
                      uint32_t waiting_max, int64_t payload_max, double rate, double burst)
{
    struct lane *lane = calloc(1, sizeof *lane);
    int32_t fields = 0, most = 0;
    if (!lane)
        abort();
    lane->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (lane->epoll < 0) {
        free(lane);
        return NULL;
    }
    lane->field_starts = room(NULL, kinds * sizeof *lane->field_starts);
    for (uint32_t kind = 0; kind < kinds; kind++) {
        lane->field_starts[kind] = fields;
        fields += field_counts[kind];
        most = field_counts[kind] > most ? field_counts[kind] : most;
    }
    lane->kinds_count = kinds;
    lane->field_counts = field_counts;
    lane->low = low;
    lane->high = high;
    lane->waiting_max = waiting_max;
    lane->payload_max = payload_max < SHORT_BYTES_MAX ? payload_max : SHORT_BYTES_MAX;
    lane->rate = rate;
    lane->burst = burst;
    lane->input_bytes = (int64_t)sizeof(struct input) + most * (int64_t)sizeof(int32_t);
    return lane;
}

int lane_epoll(const struct lane *lane)
{
    return lane->epoll;
}

void lane_free(struct lane *lane)
{
    for (int32_t slot = 0; slot < lane->lines_room; slot++)
        if (lane->lines[slot].used) {
            close(lane->lines[slot].fd);
            free(lane->lines[slot].ring);
        }
    close(lane->epoll);
    free(lane->lines);
    free(lane->field_starts);
    free(lane->scratch);
    free(lane->left);
    free(lane->left_slots);
    free(lane->left_ends);
    free(lane);
}

/* Follow frames through bytes. */
void lane_follow(struct track *track, const uint8_t *data, int64_t bytes)
{
    for (int64_t at = 0; at < bytes;) {
        if (track->left) {
            uint64_t here = (uint64_t)(bytes - at) < track->left ? (uint64_t)(bytes - at) : track->left;
            track->left -= here;
            at += (int64_t)here;
            continue;
        }
        track->head[track->head_bytes++] = data[at++];
        if (track->head_bytes < 2)
            continue;
        uint8_t length = track->head[1] & 0x7f, wide = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (track->head_bytes < 2 + wide + (track->head[1] & MASKED ? 4 : 0))
            continue;
        track->left = wide ? 0 : length;
        for (int i = 0; i < wide; i++)
            track->left = track->left << 8 | track->head[2 + i];
        if ((track->head[0] & 0x0f) < 8)
            track->fragmented = !(track->head[0] & 0x80);
        track->head_bytes = 0;
    }
}

static int between_messages(const struct track *track)
{
    return !track->left && !track->head_bytes && !track->fragmented;
}

/* ---------------------------------------------------------------- lines */

static struct line *line_of(struct lane *lane, int32_t slot)
{
    return slot >= 0 && slot < lane->lines_room && lane->lines[slot].used ? &lane->lines[slot] : NULL;
}

static struct input *kept(const struct lane *lane, const struct line *line, uint32_t seq)
{
    return (struct input *)(line->ring + (int64_t)(seq % lane->waiting_max) * lane->input_bytes);
}

/* A session comes in. Returns its slot; -1 where the system has no descriptor left, or bytes are under way. */
int32_t lane_enter(struct lane *lane, int fd, int64_t session, const struct track *track, uint32_t last_sent,
                   uint32_t applied, double tokens, double taken_s, double now_s)
{
    int32_t slot = 0;
    if (!between_messages(track))
        return -1;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return -1;
    while (slot < lane->lines_room && lane->lines[slot].used)
        slot++;
    if (slot == lane->lines_room) {
        int32_t more = lane->lines_room ? lane->lines_room * 2 : 64;
        lane->lines = room(lane->lines, (size_t)more * sizeof *lane->lines);
        memset(lane->lines + lane->lines_room, 0, (size_t)(more - lane->lines_room) * sizeof *lane->lines);
        lane->lines_room = more;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = (uint32_t)slot};
    if (epoll_ctl(lane->epoll, EPOLL_CTL_ADD, own, &event) != 0) {
        close(own);
        return -1;
    }
    lane->lines[slot] = (struct line){
        .track = *track, .session = session, .tokens = tokens, .taken_s = taken_s, .heard_s = now_s,
        .ring = room(NULL, (size_t)lane->waiting_max * (size_t)lane->input_bytes), .last_sent = last_sent,
        .applied = applied, .shard = -1, .fd = own, .used = 1,
    };
    return slot;
}

/* It goes. `track` gets where its bytes stand. */
void lane_leave(struct lane *lane, int32_t slot, struct track *track)
{
    struct line *line = line_of(lane, slot);
    if (!line)
        return;
    *track = line->track;
    epoll_ctl(lane->epoll, EPOLL_CTL_DEL, line->fd, NULL);
    close(line->fd);
    free(line->ring);
    memset(line, 0, sizeof *line);
}

void lane_serve(struct lane *lane, int32_t slot, int32_t shard)
{
    struct line *line = line_of(lane, slot);
    if (line)
        line->shard = shard;
}

/* While blocked, bytes wait in the event loop's transport, and all others must go behind them. */
void lane_block(struct lane *lane, int32_t slot, int blocked)
{
    struct line *line = line_of(lane, slot);
    if (line)
        line->blocked = blocked != 0;
}

/* numbers: last sent, applied; seconds: tokens, taken_s, heard_s. */
void lane_look(struct lane *lane, int32_t slot, uint32_t *numbers, double *seconds)
{
    const struct line *line = line_of(lane, slot);
    if (!line)
        return;
    numbers[0] = line->last_sent;
    numbers[1] = line->applied;
    seconds[0] = line->tokens;
    seconds[1] = line->taken_s;
    seconds[2] = line->heard_s;
}

/* An input that came the slow way, already checked. */
void lane_push(struct lane *lane, int32_t slot, uint32_t seq, uint32_t kind, uint32_t seen_tick, uint32_t due_tick,
               const int32_t *values)
{
    struct line *line = line_of(lane, slot);
    if (!line || kind >= lane->kinds_count)
        return;
    struct input *input = kept(lane, line, seq);
    *input = (struct input){seq, kind, seen_tick, due_tick};
    memcpy(input->values, values, (size_t)lane->field_counts[kind] * sizeof *values);
    line->last_sent = seq;
}

/* The input of a number that is still kept: numbers gets kind, seen_tick, due_tick; values those of its kind. */
void lane_kept(struct lane *lane, int32_t slot, uint32_t seq, uint32_t *numbers, int32_t *values)
{
    const struct line *line = line_of(lane, slot);
    if (!line)
        return;
    const struct input *input = kept(lane, line, seq);
    numbers[0] = input->kind;
    numbers[1] = input->seen_tick;
    numbers[2] = input->due_tick;
    memcpy(values, input->values, (size_t)lane->field_counts[input->kind] * sizeof *values);
}

/* The tokens there would be now; as `gateway/limits.TokenBucket`, to the last bit. */
static double refilled(const struct lane *lane, const struct line *line, double now_s)
{
    double passed_s = now_s - line->taken_s;
    double tokens = line->tokens + (passed_s > 0.0 ? passed_s : 0.0) * lane->rate;
    return tokens > lane->burst ? lane->burst : tokens;
}

int lane_take(struct lane *lane, int32_t slot, double now_s)
{
    struct line *line = line_of(lane, slot);
    if (!line)
        return 0;
    double tokens = refilled(lane, line, now_s);
    line->taken_s = now_s;
    line->heard_s = now_s;
    line->tokens = tokens < 1.0 ? tokens : tokens - 1.0;
    return tokens >= 1.0;
}

/* Of the session that has most: inputs sent and not yet applied. */
uint32_t lane_waiting_most(const struct lane *lane)
{
    uint32_t most = 0;
    for (int32_t slot = 0; slot < lane->lines_room; slot++) {
        const struct line *line = &lane->lines[slot];
        if (line->used && line->last_sent > line->applied && line->last_sent - line->applied > most)
            most = line->last_sent - line->applied;
    }
    return most;
}

void lane_applied(struct lane *lane, int32_t slot, uint32_t seq)
{
    struct line *line = line_of(lane, slot);
    if (line && seq > line->applied)
        line->applied = seq;
}

/* ---------------------------------------------------------------- reading */

/* A varint of 32 bits. Returns where it ends; NULL where it does not, or is longer. */
static const uint8_t *varint(const uint8_t *at, const uint8_t *end, uint32_t *value)
{
    uint64_t sum = 0;
    for (int shift = 0; shift < 35 && at < end; shift += 7) {
        uint8_t byte = *at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = (uint32_t)sum;
            return sum >> 32 ? NULL : at;
        }
    }
    return NULL;
}

/* An Input as clients of ours write it: each field at most once, in order. Returns its count of values, or -1. */
static int32_t parse(const struct lane *lane, const uint8_t *at, const uint8_t *end, struct input *input,
                     int32_t *values)
{
    const uint8_t *from = NULL, *to = NULL;
    int before = 0;
    *input = (struct input){0};
    while (at < end) {
        uint8_t tag = *at++;
        uint32_t number;
        if (tag <= before || !(at = varint(at, end, &number)))
            return -1;
        before = tag;
        switch (tag) {
        case 0x08: input->seq = number; break;
        case 0x10: input->kind = number; break;
        case 0x20: input->seen_tick = number; break;
        case 0x28: input->due_tick = number; break;
        case 0x1a:
            if (number > (uint64_t)(end - at))
                return -1;
            from = at;
            to = at += number;
            break;
        default: return -1;
        }
    }
    if (input->kind >= lane->kinds_count)
        return -1;
    int32_t count = 0, fields = lane->field_counts[input->kind], first = lane->field_starts[input->kind];
    while (from < to) {
        uint32_t number;
        if (count == fields || !(from = varint(from, to, &number)))
            return -1;
        int32_t value = (int32_t)(number >> 1 ^ (0 - (number & 1)));
        if (value < lane->low[first + count] || value > lane->high[first + count])
            return -1;
        values[count++] = value;
    }
    return count == fields ? count : -1;
}

/* Take a frame that begins here, if it is whole and all is as it should be. Returns its bytes, or 0. */
static int64_t take(struct lane *lane, struct line *line, const uint8_t *data, int64_t bytes, double now_s)
{
    uint8_t payload[SHORT_BYTES_MAX];
    struct input input;
    if (bytes < 8 || data[0] != ALONE || !(data[1] & MASKED) || line->shard < 0)
        return 0;
    int64_t size = data[1] & 0x7f;
    if (size > lane->payload_max || size < 2 || bytes < 6 + size)
        return 0;
    if ((data[6] ^ data[2]) != INPUT_TAG || (data[7] ^ data[3]) != size - 2)
        return 0;
    for (int64_t i = 2; i < size; i++)
        payload[i] = data[6 + i] ^ data[2 + (i & 3)];
    if (lane->inputs == INPUTS_MAX || lane->values_count + SHORT_BYTES_MAX > VALUES_MAX)
        return 0;
    int32_t *values = lane->values + lane->values_count;
    int32_t count = parse(lane, payload + 2, payload + size, &input, values);
    uint32_t waiting = line->last_sent > line->applied ? line->last_sent - line->applied : 0;
    double tokens = refilled(lane, line, now_s);
    if (count < 0 || input.seq != (uint64_t)line->last_sent + 1 || waiting >= lane->waiting_max || tokens < 1.0)
        return 0;
    line->tokens = tokens - 1.0;
    line->taken_s = now_s;
    line->last_sent = input.seq;
    struct input *keep = kept(lane, line, input.seq);
    *keep = input;
    memcpy(keep->values, values, (size_t)count * sizeof *values);
    int64_t i = lane->inputs++;
    lane->sessions[i] = line->session;
    lane->shards[i] = line->shard;
    lane->seqs[i] = input.seq;
    lane->kinds[i] = input.kind;
    lane->seen_ticks[i] = input.seen_tick;
    lane->due_ticks[i] = input.due_tick;
    lane->counts[i] = (uint32_t)count;
    lane->values_count += count;
    return 6 + size;
}

static void read_one(struct lane *lane, int32_t slot, double now_s)
{
    struct line *line = line_of(lane, slot);
    if (!line)
        return;
    uint8_t *chunk = lane->raw + lane->raws * CHUNK_BYTES;
    int64_t at = 0, got = recv(line->fd, chunk, CHUNK_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        line->heard_s = now_s;
        if (between_messages(&line->track))
            for (int64_t step; at < got && (step = take(lane, line, chunk + at, got - at, now_s));)
                at += step;
        if (at == got)
            return;
        lane_follow(&line->track, chunk + at, got - at);
        memmove(chunk, chunk + at, (size_t)(got - at));
    }
    /* Nothing to read: it is gone, and the event loop finds out by itself why. */
    lane->raw_slots[lane->raws] = slot;
    lane->raw_bytes[lane->raws++] = got > 0 ? (int32_t)(got - at) : 0;
}

/* Read what has come, one chunk from each of EVENTS_MAX sockets at most. Returns how many sockets had something. */
int64_t lane_read(struct lane *lane, double now_s)
{
    struct epoll_event events[EVENTS_MAX];
    lane->inputs = lane->values_count = lane->raws = 0;
    int ready = epoll_wait(lane->epoll, events, EVENTS_MAX, 0);
    lane->events = ready > 0 ? ready : 0;
    for (int64_t i = 0; i < lane->events; i++)
        read_one(lane, (int32_t)events[i].data.u32, now_s);
    return lane->events;
}

/* ---------------------------------------------------------------- sending */

/* Inputs up to `seqs` are applied, and the next frame says so. */
void lane_acks(struct lane *lane, int64_t count, const int32_t *slots, const uint32_t *seqs)
{
    for (int64_t i = 0; i < count; i++) {
        struct line *line = line_of(lane, slots[i]);
        if (!line)
            continue;
        if (seqs[i] > line->applied)
            line->applied = seqs[i];
        line->ack = seqs[i];
        line->acking = 1;
    }
}

/* Bytes for one session's next frame each: data[ends[i - 1]:ends[i]], which must stay until they are sent. */
void lane_extras(struct lane *lane, int64_t count, const int32_t *slots, const uint8_t *data, const int64_t *ends)
{
    for (int64_t i = 0, at = 0; i < count; at = ends[i++]) {
        struct line *line = line_of(lane, slots[i]);
        if (!line)
            continue;
        line->extra = data + at;
        line->extra_bytes = ends[i] - at;
    }
}

static int64_t write_varint(uint8_t *at, uint32_t value)
{
    int64_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}

static int64_t write_ack(uint8_t *at, uint32_t seq, const uint8_t *tail, int64_t tail_bytes)
{
    uint8_t number[5];
    int64_t size = write_varint(number, seq);
    at[0] = ACK_TAG;
    at[1] = (uint8_t)(1 + size + tail_bytes);
    at[2] = SEQ_TAG;
    memcpy(at + 3, number, (size_t)size);
    memcpy(at + 3 + size, tail, (size_t)tail_bytes);
    return 3 + size + tail_bytes;
}

/* Write a frame's header before `payload`. Returns where it begins. */
static uint8_t *write_header(uint8_t *payload, int64_t bytes)
{
    if (bytes < 126) {
        payload[-2] = ALONE;
        payload[-1] = (uint8_t)bytes;
        return payload - 2;
    }
    if (bytes < 65536) {
        uint16_t size = htobe16((uint16_t)bytes);
        payload[-4] = ALONE;
        payload[-3] = 126;
        memcpy(payload - 2, &size, sizeof size);
        return payload - 4;
    }
    uint64_t size = htobe64((uint64_t)bytes);
    payload[-10] = ALONE;
    payload[-9] = 127;
    memcpy(payload - 8, &size, sizeof size);
    return payload - 10;
}

static void leave_over(struct lane *lane, int32_t slot, const uint8_t *data, int64_t bytes)
{
    int64_t at = lane->lefts ? lane->left_ends[lane->lefts - 1] : 0;
    if (at + bytes > lane->left_room) {
        lane->left_room = 2 * (at + bytes);
        lane->left = room(lane->left, (size_t)lane->left_room);
    }
    if (lane->lefts == lane->lefts_room) {
        lane->lefts_room = lane->lefts_room ? 2 * lane->lefts_room : 64;
        lane->left_slots = room(lane->left_slots, (size_t)lane->lefts_room * sizeof *lane->left_slots);
        lane->left_ends = room(lane->left_ends, (size_t)lane->lefts_room * sizeof *lane->left_ends);
    }
    memcpy(lane->left + at, data, (size_t)bytes);
    lane->left_slots[lane->lefts] = slot;
    lane->left_ends[lane->lefts++] = at + bytes;
}

static int64_t send_one(struct lane *lane, int32_t slot, int64_t shared, const uint8_t *tail, int64_t tail_bytes)
{
    struct line *line = line_of(lane, slot);
    if (!line)
        return 0;
    int64_t own = line->extra_bytes, need = HEADROOM_BYTES + shared + own + ACK_BYTES_MAX;
    if (need > lane->scratch_room) {
        lane->scratch_room = 2 * need;
        lane->scratch = room(lane->scratch, (size_t)lane->scratch_room);
    }
    uint8_t *payload = lane->scratch + HEADROOM_BYTES;
    if (own)
        memcpy(payload + shared, line->extra, (size_t)own);
    if (line->acking)
        own += write_ack(payload + shared + own, line->ack, tail, tail_bytes);
    line->extra_bytes = line->acking = 0;
    if (shared + own == 0)
        return 0;
    uint8_t *begin = write_header(payload, shared + own);
    int64_t bytes = payload + shared + own - begin, sent = 0;
    if (!line->blocked)
        sent = send(line->fd, begin, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < bytes) {
        line->blocked = 1;
        sent = sent < 0 ? 0 : sent;
        leave_over(lane, slot, begin + sent, bytes - sent);
    }
    return own;
}

/* Room for a shared frame of so many bytes. Returns where it goes. */
static uint8_t *shared_room(struct lane *lane, int64_t bytes)
{
    int64_t need = HEADROOM_BYTES + bytes + ACK_BYTES_MAX;
    if (need > lane->scratch_room) {
        lane->scratch_room = 2 * need;
        lane->scratch = room(lane->scratch, (size_t)lane->scratch_room);
    }
    return lane->scratch + HEADROOM_BYTES;
}

/* Send frame i, data[ends[i - 1]:ends[i]], to the next `counts[i]` of `slots`, each with its own bytes and its ack
 * behind; who would get nothing at all gets nothing. `tail`: the end of every ack. Slots of nobody are passed over.
 * Returns the bytes of all own pieces. */
int64_t lane_send(struct lane *lane, int64_t frames, const uint8_t *data, const int64_t *ends, const int32_t *counts,
                  const int32_t *slots, const uint8_t *tail, int64_t tail_bytes)
{
    int64_t own = 0;
    lane->lefts = 0;
    for (int64_t i = 0, at = 0; i < frames; at = ends[i++]) {
        int64_t shared = ends[i] - at;
        if (shared)
            memcpy(shared_room(lane, shared), data + at, (size_t)shared);
        for (int32_t viewer = 0; viewer < counts[i]; viewer++)
            own += send_one(lane, *slots++, shared, tail, tail_bytes);
    }
    return own;
}

/* The same with frames put together here: `head`, then the next `run_counts[i]` runs data[cuts[2k]:cuts[2k + 1]].
 * `sizes` gets the bytes of each. */
int64_t lane_send_runs(struct lane *lane, int64_t frames, const uint8_t *head, int64_t head_bytes, const uint8_t *data,
                       const int64_t *cuts, const int32_t *run_counts, const int32_t *counts, const int32_t *slots,
                       const uint8_t *tail, int64_t tail_bytes, int64_t *sizes)
{
    int64_t own = 0;
    lane->lefts = 0;
    for (int64_t i = 0; i < frames; i++) {
        int64_t shared = head_bytes;
        for (int32_t run = 0; run < run_counts[i]; run++)
            shared += cuts[2 * run + 1] - cuts[2 * run];
        uint8_t *at = shared_room(lane, shared);
        memcpy(at, head, (size_t)head_bytes);
        at += head_bytes;
        for (int32_t run = 0; run < run_counts[i]; run++, cuts += 2) {
            memcpy(at, data + cuts[0], (size_t)(cuts[1] - cuts[0]));
            at += cuts[1] - cuts[0];
        }
        sizes[i] = shared;
        for (int32_t viewer = 0; viewer < counts[i]; viewer++)
            own += send_one(lane, *slots++, shared, tail, tail_bytes);
    }
    return own;
}
