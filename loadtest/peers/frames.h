/* What generator.c and floor.c share: time, options, and the frames of RFC 6455. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* The value of --name; `otherwise` where it was not given. */
static inline const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return otherwise;
}

static inline double number(int argc, char **argv, const char *name, const char *otherwise)
{
    return atof(option(argc, argv, name, otherwise));
}

typedef struct {
    uint8_t opcode;
    const uint8_t *payload;
    size_t size;  /* of the payload */
    size_t total; /* of the frame with its header */
    uint8_t mask[4];
} Frame;

/* Reads the frame at the beginning of data[size]. Returns 0 where it is not whole yet. */
static inline int read_frame(const uint8_t *data, size_t size, Frame *frame)
{
    if (size < 2)
        return 0;
    size_t head = 2, length = data[1] & 127;
    if (length == 126) {
        if (size < 4)
            return 0;
        length = (size_t)data[2] << 8 | data[3];
        head = 4;
    } else if (length == 127) {
        if (size < 10)
            return 0;
        length = 0;
        for (int i = 2; i < 10; i++)
            length = length << 8 | data[i];
        head = 10;
    }
    memset(frame->mask, 0, 4);
    if (data[1] & 128) {
        if (size < head + 4)
            return 0;
        memcpy(frame->mask, data + head, 4);
        head += 4;
    }
    if (size - head < length)
        return 0;
    frame->opcode = data[0] & 15;
    frame->payload = data + head;
    frame->size = length;
    frame->total = head + length;
    return 1;
}

/* Writes a whole frame of up to 65,535 bytes to `out`, masked where `masked`; returns its length. */
static inline size_t write_frame(uint8_t *out, uint8_t opcode, const uint8_t *payload, size_t size, int masked)
{
    static const uint8_t key[4] = {0x5a, 0xc3, 0x17, 0x8e};
    size_t at = 2;
    out[0] = 128 | opcode;
    out[1] = (masked ? 128 : 0) | (size < 126 ? (uint8_t)size : 126);
    if (size >= 126) {
        out[2] = (uint8_t)(size >> 8);
        out[3] = (uint8_t)size;
        at = 4;
    }
    if (masked) {
        memcpy(out + at, key, 4);
        at += 4;
    }
    for (size_t i = 0; i < size; i++)
        out[at + i] = masked ? payload[i] ^ key[i & 3] : payload[i];
    return at + size;
}
