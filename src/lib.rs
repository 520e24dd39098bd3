//! sbx: one readable file describes a sandbox; one call builds it, runs a command
//! in it, takes it down and says what happened.
//!
//! This page is the architecture. It changes rarely; what a file does is said at its top.
//!
//! # The picture
//!
//! Text becomes a [`spec::Spec`], a Spec meets the [`host::Host`] and an [`image::Image`] and becomes a
//! [`plan::Plan`], the Plan is frozen onto a [`run::tape::Tape`], the child plays the Tape, the parent watches,
//! and what happened, a [`run::Outcome`], becomes a [`report::Report`].
//!
//! ```text
//!             pure                     reads                 pure                  effects                  pure
//!  spec.kdl ─────────▶ Spec ──┐
//!  command line ──edits──▲    ├──▶ plan::resolve ─────▶ Plan ─────▶ run::run ──────▶ Outcome ─────▶ Report ──▶ JSON, exit code
//!  the machine ──▶ Host ──────┤        (no I/O)          │         tape → clone →          (no I/O)
//!  image ──▶ Rootfs ──────────┘                          │         play → watch → reap
//!                                                        └──▶ `sbx plan` prints it; every plan snapshot is it
//! ```
//!
//! # The code, floor by floor
//!
//! A file imports its own room and lower floors only; `tests/it/tidy.rs` holds this, and that no imports form a ring.
//! The `mod.rs` of a room is its vocabulary, types without deeds; the other files are verbs over them, and one file
//! ties the verbs together.
//!
//! - **0** [`error`]: one struct for whatever prevents sbx from doing its part; its kind says who has to act. [`units`]:
//!   sizes, times, paths, and where in a file something was written. [`domain`]: the name of a host, with one reader.
//! - **1** [`sys`]: the kernel, one system call a function, and the only unsafe code. It has no policy and no words for users.
//! - **2** Three inputs that do not know each other. [`spec`]: what was written; `spec::parse` ties it together, and every
//!   mistake comes out at once. [`host`]: what this machine and this caller can do; probing never fails, a fact that cannot be
//!   had says why. [`image`]: what the root file system is; archives are unpacked once, into a store, and
//!   [`image::registry`] is the one place that speaks to the network, with threads that end before anything is run.
//! - **3** [`plan`]: the decision. `plan::resolve` reads nothing and changes nothing; its result has no options left.
//!   [`gateway`]: what may leave the sandbox; it judges what a sandbox connects to, relays and counts, on a thread that starts
//!   after the clone.
//! - **4** [`run`]: the deed. `run::drive` is the parent's side, `run::child` and `run::init` are the child's.
//! - **5** [`report`]: the only types that are written as JSON, the hints, the exit status.
//! - **6** [`testing`]: the test runner: cases, worker processes, expectations, snapshots, JUnit. Each worker is a fork of sbx
//!   with one thread that makes one sandbox after the other, so a case is a run like any other, without its shared work.
//! - **7** [`app`]: one verb of the command line a file. [`cli`]: the command line itself. `main`: the one printer.
//!
//! # What always holds
//!
//! - No step of a run is hidden: all that the child does is in [`plan::Plan::steps`], with the line that asked for it.
//! - Between clone and exec the child allocates nothing, formats nothing, takes no lock and cannot panic.
//! - The command's uid outside is never 0, and its pid 1 holds no descriptor of the host.
//! - What is asked for and cannot be enforced is an error before anything is made, or stands under `weakened`.
//! - A figure that is not known is absent, never zero.
//! - Words of the outside stay at their border: `kdl` in [`spec`], `clap` in [`cli`], archives in [`image`], JSON in [`report`] and that of images in [`image::oci`].
//!   `libc` and `nix` are called in [`sys`] only; elsewhere they lend the names of errno, signals and flags.
//!
//! # Why it is so
//!
//! 1. **Intent is data before anything happens.** `plan`, `check` and `run` share one plan; there is no second translator, so
//!    what is shown is what is done, and the flags of the command line are edits of the spec.
//! 2. **The child is small and dumb.** Paths, id maps and arguments are made in the parent and frozen on the tape; an error of
//!    the child is a step and an errno, turned into words on the other side.
//!    So Landlock's rules are four raw calls in [`sys`], not the `landlock` crate, which allocates: a rule is about a file that
//!    is opened, and what the rules are about exists only once the child has mounted it.
//! 3. **The host is detached first, mounts are made later.** Sources are opened as detached trees while the host is visible;
//!    destinations are made when only the image is. A link in an image can then lead only into the image.
//! 4. **Never root outside.** Each of root's runs gets an id of its own; with an identity map, sysctls would open for writing
//!    without any capability.
//! 5. **The parent measures and decides; pid 1 inside reaps and forwards.** It is not dumpable and carries nothing of the caller's
//!    environment.
//! 6. **Fail closed, and say what is in force.** An empty list is not the same as no list. What a spec leaves open is decided
//!    by its `profile`, in one table ([`plan::posture`]).
//! 7. **Cgroups by plain files, two back-ends.** On v2 the child is born in its group; on v1 it writes itself into each, which
//!    takes no lock while it has one thread. Counters are read when all are dead, before the group is removed.
//! 8. **What the kernel does not free by itself has an owner.** Of a run that is a cgroup only: mounts, processes and
//!    namespaces end with it. The owner is a lock on the group's own directory (v1: its `tasks` file), held for the life of
//!    the run; whoever gets the lock later, the next run or `sbx gc`, removes what is there. There is no run directory, because
//!    it would be one more thing to clean up.
//! 9. **Images are content.** A layer is known by the digest of its tar, extracted once by an sbx that has confined itself
//!    ([`app::extract`]) and made whole by a rename. Several layers are put together once, by more names (hard links) of their
//!    files: whiteouts exist in lists only, and a run mounts one directory, however many layers and files an image has. So
//!    it needs no device nodes and no attributes of overlayfs in the store, and works on every file system with hard links.
//! 10. **A sandbox without a network has one.** Its own, with `lo` up: what binds to localhost works, and nothing leaves.
//! 11. **One process, no daemon, no runtime, one thread until the clone.**
//! 12. **Speed is a feature of the design**: one clone, few system calls, a static binary, one teardown. `benches/` measures it
//!     against a program that makes just those calls.

pub mod domain;
pub mod error;
pub mod units;

pub mod sys;

pub mod host;
pub mod image;
pub mod spec;

pub mod gateway;
pub mod plan;

pub mod run;

pub mod report;

pub mod testing;

pub mod app;
pub mod cli;
pub mod cli_image;
pub mod cli_spec;
pub mod cli_test;
