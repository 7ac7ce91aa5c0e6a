/* Writes frames for tidegate: one header, C99, no allocation, any byte order.
 *
 * The bytes are described in ../frame.md; a test of the project compares this encoder's output with
 * the gateway's own, byte for byte. Take it under Apache-2.0 or MIT, as you like.
 *
 *     uint8_t buffer[128];
 *     tidegate_frame f;
 *     tidegate_begin(&f, buffer, sizeof buffer, 1);   // one reading follows
 *     tidegate_reading(&f, "climate", 1);             // with one tag
 *     tidegate_tag(&f, "device", "d1");
 *     tidegate_age_ms(&f, 1500);                      // or tidegate_at_ns, or tidegate_no_time
 *     tidegate_fields(&f, 2);                         // with two fields
 *     tidegate_float(&f, "t", 21.5f);
 *     tidegate_bool(&f, "open", false);
 *     size_t len = tidegate_end(&f);                  // 0: it did not fit
 *
 * Names and texts are UTF-8 and end in a zero byte.
 */
#ifndef TIDEGATE_FRAME_H
#define TIDEGATE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t *start, *at, *end;
    bool full;
} tidegate_frame;

static inline void tidegate_put(tidegate_frame *f, const void *bytes, size_t len) {
    if (f->full || (size_t)(f->end - f->at) < len) {
        f->full = true;
        return;
    }
    memcpy(f->at, bytes, len);
    f->at += len;
}

static inline void tidegate_byte(tidegate_frame *f, uint8_t byte) {
    tidegate_put(f, &byte, 1);
}

static inline void tidegate_little_endian(tidegate_frame *f, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        tidegate_byte(f, (uint8_t)(value >> (8 * i)));
    }
}

static inline void tidegate_varint(tidegate_frame *f, uint64_t value) {
    if (value < 251) {
        tidegate_byte(f, (uint8_t)value);
    } else if (value <= 0xFFFFu) {
        tidegate_byte(f, 251);
        tidegate_little_endian(f, value, 2);
    } else if (value <= 0xFFFFFFFFu) {
        tidegate_byte(f, 252);
        tidegate_little_endian(f, value, 4);
    } else {
        tidegate_byte(f, 253);
        tidegate_little_endian(f, value, 8);
    }
}

static inline void tidegate_string(tidegate_frame *f, const char *text) {
    size_t len = strlen(text);
    tidegate_varint(f, len);
    tidegate_put(f, text, len);
}

static inline void tidegate_begin(tidegate_frame *f, void *buffer, size_t size, uint32_t readings) {
    f->start = f->at = (uint8_t *)buffer;
    f->end = f->start + size;
    f->full = false;
    tidegate_byte(f, 0xC1);
    tidegate_byte(f, 1);
    tidegate_varint(f, readings);
}

/* Bytes written, or 0 if the buffer was too small. */
static inline size_t tidegate_end(const tidegate_frame *f) {
    return f->full ? 0 : (size_t)(f->at - f->start);
}

/* An empty measurement: the gateway's own default. */
static inline void tidegate_reading(tidegate_frame *f, const char *measurement, uint32_t tags) {
    tidegate_string(f, measurement);
    tidegate_varint(f, tags);
}

static inline void tidegate_tag(tidegate_frame *f, const char *key, const char *value) {
    tidegate_string(f, key);
    tidegate_string(f, value);
}

/* Exactly one of the four after the tags. */
static inline void tidegate_no_time(tidegate_frame *f) {
    tidegate_byte(f, 0);
}

static inline void tidegate_at_ns(tidegate_frame *f, int64_t ns) {
    tidegate_byte(f, 1);
    tidegate_little_endian(f, (uint64_t)ns, 8);
}

static inline void tidegate_age_ns(tidegate_frame *f, uint64_t ns) {
    tidegate_byte(f, 2);
    tidegate_varint(f, ns);
}

static inline void tidegate_age_ms(tidegate_frame *f, uint64_t ms) {
    tidegate_age_ns(f, ms * 1000000u);
}

static inline void tidegate_fields(tidegate_frame *f, uint32_t fields) {
    tidegate_varint(f, fields);
}

static inline void tidegate_double(tidegate_frame *f, const char *name, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    tidegate_string(f, name);
    tidegate_byte(f, 0);
    tidegate_little_endian(f, bits, 8);
}

static inline void tidegate_float(tidegate_frame *f, const char *name, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    tidegate_string(f, name);
    tidegate_byte(f, 1);
    tidegate_little_endian(f, bits, 4);
}

static inline void tidegate_int(tidegate_frame *f, const char *name, int64_t value) {
    tidegate_string(f, name);
    tidegate_byte(f, 2);
    tidegate_varint(f, value < 0 ? ~((uint64_t)value << 1) : (uint64_t)value << 1);
}

static inline void tidegate_uint(tidegate_frame *f, const char *name, uint64_t value) {
    tidegate_string(f, name);
    tidegate_byte(f, 3);
    tidegate_varint(f, value);
}

static inline void tidegate_bool(tidegate_frame *f, const char *name, bool value) {
    tidegate_string(f, name);
    tidegate_byte(f, 4);
    tidegate_byte(f, value ? 1 : 0);
}

static inline void tidegate_text(tidegate_frame *f, const char *name, const char *value) {
    tidegate_string(f, name);
    tidegate_byte(f, 5);
    tidegate_string(f, value);
}

#endif
