//! Small files of the kernel's, read again and again.

use std::fs::File;
use std::io::Read;

/// Most that is read of a file. The CPUs of `/proc/stat` come first, about 100 bytes each.
const LIMIT: u64 = 1 << 20;

/// Reads a whole text. Does not wait; the error is in words.
pub(super) type ReadText = Box<dyn FnMut() -> Result<String, String> + Send>;

/// Reads the file at `path` anew each time, at most 1 MiB of it.
pub(super) fn reader(path: &'static str) -> ReadText {
    Box::new(move || {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
        read.map(|_length| text).map_err(|e| format!("{path}: {e}"))
    })
}
