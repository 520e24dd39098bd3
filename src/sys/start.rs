//! The way into the program without the runtime's own: what that does before `main`
//! (an alternate stack, four signal actions, a look at the standard streams) is a tenth
//! of a run's system calls. What of it matters is done here.
#![expect(unsafe_code, reason = "the C entry point hands over raw pointers")]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Fd, fd, watch};

/// argc, which nothing else remembers.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The address of argv: without the runtime's own `main` musl leaves `std::env::args_os` empty.
static VECTOR: OnceLock<usize> = OnceLock::new();

/// Makes `$main`, a function from the arguments to the exit status, the program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(count: core::ffi::c_int, arguments: *const *const core::ffi::c_char) -> core::ffi::c_int {
            // SAFETY: the C runtime calls this once, with argc and argv.
            unsafe { $crate::sys::start::start(count, arguments, $main) }
        }
    };
}

/// Called once, by the C runtime, through [`entry!`].
///
/// # Safety
/// `arguments` points to `count` pointers to NUL-terminated strings that live as long as the process.
pub unsafe fn start(count: c_int, arguments: *const *const c_char, main: fn(Vec<OsString>) -> u8) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    COUNT.store(count, Ordering::Relaxed);
    open_standard_streams();
    VECTOR.get_or_init(|| arguments.expose_provenance());
    main(self::arguments()).into()
}

/// Returns the words of the command line, the name of the program first; none in a process that was not
/// started by [`entry!`].
#[must_use]
pub fn arguments() -> Vec<OsString> {
    let Some(address) = VECTOR.get() else { return Vec::new() };
    let vector = std::ptr::with_exposed_provenance::<*const c_char>(*address);
    let words = (0..argument_count()).map(|index| {
        // SAFETY: index < argc, so this stays inside the array that the C runtime handed over.
        let place = unsafe { vector.add(index) };
        // SAFETY: and it holds a pointer.
        let word = unsafe { *place };
        // SAFETY: each of them points to a NUL-terminated string that lives as long as the process.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    words.collect()
}

/// Returns argc.
#[must_use]
pub fn argument_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// A stream that is closed is opened on `/dev/null`, or the next file that is opened would be taken for it.
/// The lowest free number is what open(2) gives, so this fills the gaps in order.
fn open_standard_streams() {
    let mut streams = [0, 1, 2].map(|number| watch::Entry { fd: Fd(number), wanted: 0, seen: 0 });
    let looked = watch::poll(&mut streams, Some(0));
    if looked.is_ok() && streams.iter().all(|stream| stream.seen & libc::POLLNVAL == 0) {
        return;
    }
    while let Ok(Fd(number)) = fd::open(c"/dev/null", libc::O_RDWR, 0) {
        if number > 2 {
            fd::close(Fd(number)).ok();
            return;
        }
        fd::keep_on_exec(Fd(number)).ok();
    }
}
