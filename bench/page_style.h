/* How the page looks. */
#ifndef KVF_BENCH_PAGE_STYLE_H
#define KVF_BENCH_PAGE_STYLE_H

/* A style sheet in pieces, up to NULL, without anything that XML would want escaped. */
extern const char *const page_style[];

#endif
