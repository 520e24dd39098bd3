//! The strings that execve(2) left on the stack: the caller's arguments and environment.
#![expect(unsafe_code, reason = "the strings are reached through the C environment pointer")]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The place of the strings in memory.
#[derive(Debug, Clone, Copy)]
pub struct Strings {
    start: *mut u8,
    length: usize,
}

/// Finds the caller's argument and environment strings. The kernel lays out `argc`, the argument
/// pointers, null, the environment pointers, null, and then, elsewhere and contiguous, the strings
/// (System V ABI, "Process Initialization"). `argument_count` is argc. Call it before anything
/// changes the environment.
#[must_use]
pub fn caller_strings(argument_count: usize) -> Option<Strings> {
    // SAFETY: the C runtime sets `environ` before main; nothing of ours changes it.
    let variables = unsafe { environ };
    if variables.is_null() || argument_count == 0 {
        return None;
    }
    // SAFETY: by the layout above, argv lies argc + 1 words before envp.
    let first = unsafe { variables.sub(argument_count + 1) };
    // SAFETY: argc is at least one, so argv[0] is a live pointer to a string.
    let start = unsafe { *first };
    // SAFETY: the word before the null that ends argv is the last argument pointer.
    let final_argument = unsafe { variables.sub(2) };
    // SAFETY: as above; argc is at least one.
    let mut last = unsafe { *final_argument };
    let mut variable = variables;
    loop {
        // SAFETY: the walk ends at the null pointer after the last variable.
        let string = unsafe { *variable };
        if string.is_null() {
            break;
        }
        last = string;
        // SAFETY: `variable` was not the final null, so the next word belongs to the array.
        variable = unsafe { variable.add(1) };
    }
    // SAFETY: `last` is a live NUL-terminated string of argv or envp.
    let end = last.addr() + unsafe { CStr::from_ptr(last) }.to_bytes_with_nul().len();
    let length = end.checked_sub(start.addr()).filter(|length| *length < (8 << 20))?;
    Some(Strings { start: start.cast_mut().cast(), length })
}

/// Overwrites the strings with zeros in this process's memory; child-safe. `/proc/PID/cmdline` and
/// `environ`, which read that memory, are then empty. Nothing reads the strings afterwards.
pub fn erase(strings: Strings) {
    // SAFETY: the range was computed by `caller_strings` and is writable stack memory; the caller is a
    // child that never looks at its arguments or environment again.
    unsafe { strings.start.write_bytes(0, strings.length) };
}
