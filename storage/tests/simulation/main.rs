//! A crash at every disk call, by the thousand.
//!
//! ```text
//!   seed ──► Profile, Generator ──steps──► Machine: one store, turned by hand, on a SimDisk that goes down at call N
//!                ▲                             │ answers, what was acknowledged, what is readable
//!                └────── Model: what is true ◄─┘ check: after each start, and now and then while it runs
//! ```
//!
//! A *case* is a seed and a call. The machine goes down in that call, comes up with whatever part of the unflushed
//! changes chance has kept, may go down again while it recovers, and has to be, each time, exactly the model after some
//! prefix of the frames that were committed, with everything in it that was acknowledged or visible before:
//! 1. an acknowledged frame is there, whole, with the same bytes at the same offsets; in page-cache mode what was
//!    flushed, or what a journaled frame depends on;
//! 2. a frame is there with all its appends, or with none;
//! 3. offsets have no gaps, order is that of the commits, nothing is there that was not committed;
//! 4. high watermark, last stable offset, producers, duplicates, open and aborted transactions follow from the prefix;
//! 5. the store serves again, and the next crash is no different.
//!
//! A life ends with a clean stop, with the machine, or with the process alone: then the page cache stays, and nothing that was
//! acknowledged may be gone, in page-cache mode neither. In some of them the disk fills up for a while (`Step::Fill`), or a
//! write or a flush fails, once (`Step::Fail`, `failing`): the store has to say so and to accept, write and acknowledge nothing
//! any more, and the next start has to be right whatever the device has kept.
//!
//! Topics are trimmed by retention and compacted on the way (`cleaning`); what may be gone, and what must not be, is in
//! `compacted`. And bits flip, below what a checkpoint vouches for (`rot`): a batch with one reads as damaged, or, from
//! memory, as it was, and costs nothing else; what is derived from batches is made again, and nobody reads anything wrong.
//!
//! The same with a journal whose flushes do nothing has to fail: a test of its own, `a_journal_whose_flushes_lie_is_seen`.
//!
//! `LOGMILL_SIM_SEEDS=n` tries more seeds, `LOGMILL_SIM_FIRST=n` other ones; a failure names the one case to run again
//! (`LOGMILL_SIM_CASE=seed:small|large:call`). `LOGMILL_SIM_SURVEY=n` goes on after violations and counts them by kind.

mod check;
mod cleaning;
mod compacted;
mod coverage;
mod failing;
mod generator;
mod machine;
mod model;
mod profile;
mod rot;
mod run;
mod steps;
mod suite;
mod trace;
