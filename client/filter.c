/*
 * Two layers. The lower one puts bytes together to units: an ASCII character,
 * a C1 control (raw or as UTF-8), or text. The upper one is the parser of
 * ECMA-48 sequences; what is not decided is held, and passed whole or not at
 * all.
 */
#include "client/filter.h"

#include <string.h>

enum { ENQ = 0x05, BEL = 0x07, CAN = 0x18, SUB = 0x1a, ESC = 0x1b, DEL = 0x7f };
enum { C1_FIRST = 0x80, DCS = 0x90, SOS = 0x98, DECID = 0x9a, CSI = 0x9b };
enum { ST = 0x9c, OSC = 0x9d, PM = 0x9e, APC = 0x9f, C1_END = 0xa0 };
enum { TEXT = 0x100 }; /* the value of a unit that is no control */

enum filter_state {
    GROUND,
    IN_ESC,    /* held: ESC and intermediates */
    IN_CSI,    /* held: CSI and parameters */
    IN_NUMBER, /* held: OSC and its number */
    IN_OSC,    /* an OSC that passes */
    SKIP_OSC,  /* an OSC that is dropped */
    SKIP,      /* another string that is dropped */
};

struct unit {
    int value; /* 0..0x9f, or TEXT */
    const uint8_t *bytes;
    size_t len;
};

struct sink {
    uint8_t *at;
};

static const char *const osc_allowed[] = {FILTER_OSC};
static const char *const osc_asking[] = {
    "4", "5", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "22"};

void filter_init(struct filter *f)
{
    memset(f, 0, sizeof(*f));
}

static void emit(struct sink *out, const uint8_t *bytes, size_t len)
{
    memcpy(out->at, bytes, len);
    out->at += len;
}

static void emit_byte(struct sink *out, int byte)
{
    *out->at++ = (uint8_t)byte;
}

static void hold(struct filter *f, const struct unit *u)
{
    if (f->held_len + u->len > sizeof(f->held)) {
        f->is_doomed = true;
        return;
    }
    memcpy(f->held + f->held_len, u->bytes, u->len);
    f->held_len += u->len;
}

static void hold_first(struct filter *f, const struct unit *u, int state)
{
    f->held_len = 0;
    f->is_doomed = false;
    hold(f, u);
    f->state = state;
}

/* The held sequence goes out; its ESC ends a string the terminal is in. */
static void pass_held(struct filter *f, struct sink *out)
{
    emit(out, f->held, f->held_len);
    if (f->held_len && f->held[0] == ESC)
        f->is_open = false;
    f->held_len = 0;
}

/* The held sequence is dropped. It would have ended a string that the
 * terminal is in: CAN does that in its place. */
static void drop_held(struct filter *f, struct sink *out)
{
    if (f->is_open)
        emit_byte(out, CAN);
    f->is_open = false;
    f->held_len = 0;
}

/* A CSI taken apart. */
struct csi {
    uint8_t prefix; /* < = > ? or 0 */
    uint8_t inter;  /* intermediate byte or 0 */
    const uint8_t *params;
    size_t params_len;
};

static bool csi_split(const struct filter *f, struct csi *c)
{
    size_t at = f->held[0] == CSI ? 1 : 2; /* ESC [ and U+009B are two bytes */
    size_t end = f->held_len;

    if (at < end && f->held[at] >= '<' && f->held[at] <= '?')
        c->prefix = f->held[at++];
    if (end > at && f->held[end - 1] < '0')
        c->inter = f->held[--end];
    c->params = f->held + at;
    c->params_len = end - at;
    for (; at < end; at++)
        if (f->held[at] < '0' || f->held[at] > ';')
            return false; /* a prefix or an intermediate out of place */
    return true;
}

/* Value of the parameter at *at, which is left behind it; one too large for
 * any terminal is 65535. */
static unsigned csi_param(const struct csi *c, size_t *at)
{
    unsigned value = 0;

    for (; *at < c->params_len && c->params[*at] <= '9'; (*at)++) {
        value = value * 10 + (c->params[*at] - '0');
        if (value > 65535)
            value = 65535;
    }
    if (*at < c->params_len)
        (*at)++;
    return value;
}

static bool csi_names_mode(const struct csi *c, unsigned mode)
{
    size_t at = 0;

    while (at < c->params_len) {
        unsigned value = csi_param(c, &at);

        if (value == mode || value == 65535)
            return true;
    }
    return false;
}

/* Window reports: state, positions, sizes. */
static bool csi_asks_window(const struct csi *c)
{
    size_t at = 0;
    unsigned first = csi_param(c, &at);

    return c->inter == 0 && first >= 11 && first <= 19;
}

/* Does the terminal answer with numbers? */
static bool csi_asks(const struct csi *c, int final)
{
    switch (final) {
    case 'c': /* attributes; with ? a cursor's look on the Linux console */
        return c->inter == 0 && c->prefix != '?';
    case 'n': /* status, cursor; with > it sets something */
        return c->inter == 0 && c->prefix != '>';
    case 'x': /* parameters; with $ or * a rectangle */
        return c->inter == 0;
    case 'p': /* a mode */
        return c->inter == '$';
    case 'q': /* version */
        return c->prefix == '>';
    case 'u': /* keyboard */
    case 'm': /* keys' modifiers */
    case 'S': /* graphics */
        return c->prefix == '?';
    case 'R': /* palette */
        return c->inter == '#';
    case '|': /* selected attributes, locator */
        return c->inter == '#' || c->inter == '\'';
    case 't':
        return csi_asks_window(c);
    default:
        return false;
    }
}

/* Of a CSI ?: does it set what nobody could set back? */
static bool csi_outlasts(const struct csi *c)
{
    static const unsigned modes[] = {67,   1046, 1050, 1051,
                                     1052, 1053, 1060, 1061};

    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
        if (csi_names_mode(c, modes[i]))
            return true;
    return false;
}

static bool csi_passes(const struct filter *f, int final)
{
    struct csi c = {0};
    size_t at = 0;
    unsigned first;

    if (f->is_doomed || !csi_split(f, &c) ||
        (f->is_again && csi_asks(&c, final)))
        return false;
    switch (final) {
    case 'i': /* print */
    case 'y': /* checksum of the screen, self-test */
        return false;
    case 't': /* window: 20 and 21 report titles; with $ it is a rectangle */
        first = csi_param(&c, &at);
        return c.inter == '$' ||
               (first > 0 && first != 20 && first != 21 && first < 65535);
    case 'u':
        return c.inter != '$' && c.inter != '&';
    case 'w':
        return c.inter != '$';
    case 'z':
        return c.inter != '*';
    case 'l':
        return c.prefix != '?' || (!csi_names_mode(&c, 2) && !csi_outlasts(&c));
    case 'h':
        return c.prefix != '?' ||
               (!csi_names_mode(&c, 38) && !csi_outlasts(&c));
    case 'p':
        return c.inter != '"' && c.prefix != '>';
    default:
        return true;
    }
}

static bool osc_is_of(const struct filter *f, const char *const *numbers,
                      size_t count)
{
    size_t at = f->held[0] == OSC ? 1 : 2;
    size_t len = f->held_len - at;

    for (size_t i = 0; i < count; i++)
        if (strlen(numbers[i]) == len && !memcmp(numbers[i], f->held + at, len))
            return true;
    return false;
}

/* Is the held OSC one that passes? Its first part alone may be there yet. */
static bool osc_passes(const struct filter *f)
{
    return !f->is_doomed &&
           osc_is_of(f, osc_allowed,
                     sizeof(osc_allowed) / sizeof(*osc_allowed));
}

static bool osc_is_progress(const struct filter *f)
{
    size_t at = f->held[0] == OSC ? 1 : 2;

    return f->held_len == at + 1 && f->held[at] == '9';
}

static void in_ground(struct filter *f, const struct unit *u, struct sink *out)
{
    f->state = GROUND;
    switch (u->value) {
    case ESC:
        hold_first(f, u, IN_ESC);
        return;
    case CSI:
        hold_first(f, u, IN_CSI);
        return;
    case OSC:
        hold_first(f, u, IN_NUMBER);
        return;
    case DCS:
    case SOS:
    case PM:
    case APC:
        drop_held(f, out);
        f->state = SKIP;
        return;
    default:
        if (u->value >= C1_FIRST && u->value < C1_END &&
            (f->is_open || (f->is_again && u->value == DECID)))
            drop_held(f, out);
        else
            emit(out, u->bytes, u->len);
    }
}

/* What does not belong into a sequence ends it. */
static void in_ground_instead(struct filter *f, const struct unit *u,
                              struct sink *out)
{
    drop_held(f, out);
    in_ground(f, u, out);
}

/* ESC and its final byte, without intermediates. */
static void escape(struct filter *f, const struct unit *u, struct sink *out)
{
    bool was_skipped = f->is_skipped;

    f->is_skipped = false;
    f->state = GROUND;
    switch (u->value) {
    case '[':
        hold(f, u);
        f->state = IN_CSI;
        return;
    case ']':
        hold(f, u);
        f->state = IN_NUMBER;
        return;
    case 'P':
    case 'X':
    case '^':
    case '_':
    case 'k': /* a title of screen and tmux */
        drop_held(f, out);
        f->state = SKIP;
        return;
    case '}':
        drop_held(f, out);
        return;
    case '\\':
        if (was_skipped) {
            drop_held(f, out);
            return;
        }
        break;
    case 'Z': /* identity */
        if (f->is_again) {
            drop_held(f, out);
            return;
        }
        break;
    default:
        break;
    }
    hold(f, u);
    pass_held(f, out);
}

static void in_esc(struct filter *f, const struct unit *u, struct sink *out)
{
    if (u->value >= C1_FIRST) {
        f->is_skipped = false;
        in_ground_instead(f, u, out);
    } else if (u->value < ' ') {
        emit(out, u->bytes, u->len);
    } else if (u->value < '0') {
        hold(f, u);
    } else if (u->value != DEL && f->held_len == 1) {
        escape(f, u, out);
    } else if (u->value != DEL) {
        f->is_skipped = false;
        f->state = GROUND;
        hold(f, u);
        if (f->is_doomed || strchr("[]PX^_\\k", u->value) ||
            (f->held[1] == '%' && (f->held_len != 3 || u->value != 'G')))
            drop_held(f, out);
        else
            pass_held(f, out);
    }
}

static void in_csi(struct filter *f, const struct unit *u, struct sink *out)
{
    if (u->value >= C1_FIRST) {
        in_ground_instead(f, u, out);
    } else if (u->value < ' ') {
        emit(out, u->bytes, u->len);
    } else if (u->value < '@') {
        hold(f, u);
    } else if (u->value != DEL) {
        bool passes = csi_passes(f, u->value);

        f->state = GROUND;
        hold(f, u);
        if (passes && !f->is_doomed)
            pass_held(f, out);
        else
            drop_held(f, out);
    }
}

static void in_number(struct filter *f, const struct unit *u, struct sink *out)
{
    bool is_end = u->value == BEL || u->value == ST || u->value == ESC;

    if (u->value >= C1_FIRST && u->value < C1_END && u->value != ST) {
        in_ground_instead(f, u, out);
    } else if (u->value >= '0' && u->value <= '9') {
        hold(f, u);
    } else if (u->value == ';' && osc_is_progress(f)) {
        hold(f, u);
    } else if ((is_end || u->value == ';') && osc_passes(f)) {
        f->is_asking =
            osc_is_of(f, osc_asking, sizeof(osc_asking) / sizeof(*osc_asking));
        pass_held(f, out);
        f->is_open = true;
        f->string_len = 0;
        f->state = IN_OSC;
    } else if (is_end || u->value >= ' ') {
        drop_held(f, out);
        f->state = SKIP_OSC;
    }
    /* other controls within it are ignored, as terminals do */
}

static void in_osc(struct filter *f, const struct unit *u, struct sink *out)
{
    if (u->value == ESC) {
        hold_first(f, u, IN_ESC);
    } else if (u->value == BEL || u->value == ST) {
        emit(out, u->bytes, u->len);
        f->is_open = false;
        f->state = GROUND;
    } else if (u->value >= C1_FIRST && u->value < C1_END) {
        in_ground(f, u, out);
    } else if (u->value >= ' ' && u->value != DEL) {
        f->string_len += u->len;
        if (f->string_len > FILTER_STRING_MAX) {
            drop_held(f, out);
            f->state = SKIP_OSC;
        } else if (f->is_again && f->is_asking && u->value == '?') {
            emit_byte(out, '#');
        } else {
            emit(out, u->bytes, u->len);
        }
    }
}

static void in_skipped(struct filter *f, const struct unit *u, struct sink *out)
{
    if (u->value == ESC) {
        hold_first(f, u, IN_ESC);
        f->is_skipped = true;
    } else if (u->value == ST || (u->value == BEL && f->state == SKIP_OSC)) {
        f->state = GROUND;
    } else if (u->value >= C1_FIRST && u->value < C1_END) {
        in_ground(f, u, out);
    }
}

/* What has one meaning in every state. true = done. */
static bool anywhere(struct filter *f, const struct unit *u, struct sink *out)
{
    switch (u->value) {
    case ENQ:
        return true;
    case CAN:
    case SUB:
        if (u->value == SUB) { /* ends a string as CAN does */
            emit_byte(out, SUB);
            f->is_open = false;
        }
        drop_held(f, out);
        f->is_skipped = false;
        f->state = GROUND;
        return true;
    case ESC:
        if (f->state != IN_ESC && f->state != IN_CSI)
            return false;
        f->is_skipped = false;
        hold_first(f, u, IN_ESC);
        return true;
    default:
        return false;
    }
}

static void take(struct filter *f, struct unit u, struct sink *out)
{
    if (anywhere(f, &u, out))
        return;
    if (f->state == IN_NUMBER) { /* its end belongs to the state it leads to */
        in_number(f, &u, out);
        if (f->state != IN_OSC && f->state != SKIP_OSC)
            return;
    }
    switch (f->state) {
    case IN_ESC:
        in_esc(f, &u, out);
        break;
    case IN_CSI:
        in_csi(f, &u, out);
        break;
    case IN_OSC:
        in_osc(f, &u, out);
        break;
    case SKIP_OSC:
    case SKIP:
        in_skipped(f, &u, out);
        break;
    default:
        in_ground(f, &u, out);
        break;
    }
}

/* How many bytes a character with this first one has; 0 = none begins so. */
static size_t utf8_length(uint8_t lead)
{
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* May byte follow what is there of a character? Overlong forms, surrogates
 * and values above U+10FFFF are not characters. */
static bool utf8_may_follow(const struct filter *f, uint8_t byte)
{
    uint8_t lead = f->utf8[0];

    if ((byte & 0xc0) != 0x80 || !utf8_length(lead))
        return false;
    if (f->utf8_len > 1)
        return true;
    return !(lead == 0xe0 && byte < 0xa0) && !(lead == 0xed && byte >= 0xa0) &&
           !(lead == 0xf0 && byte < 0x90) && !(lead == 0xf4 && byte >= 0x90);
}

static void take_character(struct filter *f, struct sink *out)
{
    bool is_c1 = f->utf8_len == 2 && f->utf8[0] == 0xc2 && f->utf8[1] < C1_END;
    uint8_t bytes[sizeof(f->utf8)];
    struct unit u = {is_c1 ? f->utf8[1] : TEXT, bytes, f->utf8_len};

    memcpy(bytes, f->utf8, sizeof(bytes));
    f->utf8_len = 0;
    take(f, u, out);
}

/* A character cut short. Its continuation bytes are dropped: a decoder that
 * begins anew at the second byte would see controls. */
static void take_lead(struct filter *f, struct sink *out)
{
    uint8_t lead = f->utf8[0];

    f->utf8_len = 0;
    take(f, (struct unit){TEXT, &lead, 1}, out);
}

static void take_byte(struct filter *f, uint8_t byte, struct sink *out)
{
    if (f->utf8_len && utf8_may_follow(f, byte)) {
        f->utf8[f->utf8_len++] = byte;
        if (f->utf8_len == utf8_length(f->utf8[0]))
            take_character(f, out);
        return;
    }
    if (f->utf8_len == 1 && (byte & 0xc0) == 0x80)
        f->utf8_len = 0; /* dropped: a lax decoder would see a control */
    else if (f->utf8_len)
        take_lead(f, out);
    if (byte >= 0xc0)
        f->utf8[f->utf8_len++] = byte;
    else
        take(f, (struct unit){byte < C1_END ? byte : TEXT, &byte, 1}, out);
}

/* How many bytes from here are plain text, most of any output. */
static size_t plain(const struct filter *f, const uint8_t *in, size_t len)
{
    size_t n = 0;

    if (f->state != GROUND || f->utf8_len)
        return 0;
    while (n < len &&
           ((in[n] >= ' ' && in[n] < DEL) || in[n] == '\n' || in[n] == '\r'))
        n++;
    return n;
}

size_t filter_run(struct filter *f, const uint8_t *in, size_t len, uint8_t *out)
{
    struct sink sink = {out};

    for (size_t i = 0; i < len; i++) {
        const size_t n = plain(f, in + i, len - i);

        emit(&sink, in + i, n);
        i += n;
        if (i < len)
            take_byte(f, in[i], &sink);
    }
    return (size_t)(sink.at - out);
}
