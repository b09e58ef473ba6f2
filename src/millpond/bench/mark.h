/* A function for measuring tools to stop at: it does nothing and is never inlined away. */
#ifndef MILLPOND_BENCH_MARK_H
#define MILLPOND_BENCH_MARK_H

#ifdef __cplusplus
extern "C"
#endif
__attribute__((noinline, used, visibility("default"))) void millpond_bench_mark(void);

void millpond_bench_mark(void) { __asm__ volatile("" ::: "memory"); }

#endif
