//! A random run that fails, made smaller: fewer happenings and fewer hosts that fail alike.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use super::chaos::{Options, Outcome, hosts, run};

/// A run, and what was broken where it failed: the first line of what it says.
///
/// # Errors
/// An invariant was violated.
pub fn attempt(seed: u64, options: &Options) -> Result<Outcome, String> {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, options)));
    set_hook(hook);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map_or("it panicked", String::as_str);
        text.lines().next().unwrap_or_default().to_owned()
    })
}

/// A smaller run that still breaks the same invariant: half of the happenings are left out, then
/// fewer, in the end one by one; then hosts; and again, as long as that helps.
#[must_use]
pub fn shrink(seed: u64, options: &Options, failure: &str) -> Options {
    let fails = |options: &Options| {
        let what = attempt(seed, options).err();
        what.is_some_and(|what| what.get(..2) == failure.get(..2))
    };
    let mut best = options.clone();
    best.only.get_or_insert_with(|| (0..options.happenings).collect());
    loop {
        let before = size(&best);
        fewer_happenings(&mut best, fails);
        fewer_hosts(&mut best, hosts(seed, options), fails);
        if size(&best) == before {
            return best;
        }
    }
}

fn size(options: &Options) -> (Option<usize>, usize) {
    (options.only.as_ref().map(Vec::len), options.off.len())
}

fn fewer_happenings(best: &mut Options, fails: impl Fn(&Options) -> bool) {
    let count = |best: &Options| best.only.as_ref().map_or(0, Vec::len);
    let mut size = count(best).div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < count(best) {
            let mut smaller = best.clone();
            if let Some(only) = &mut smaller.only {
                only.drain(start..(start + size).min(only.len()));
            }
            if fails(&smaller) {
                *best = smaller;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
}

fn fewer_hosts(best: &mut Options, hosts: usize, fails: impl Fn(&Options) -> bool) {
    for host in 0..hosts {
        let mut smaller = best.clone();
        smaller.off.push(host);
        if !best.off.contains(&host) && fails(&smaller) {
            *best = smaller;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A run that is left without any happening → it is shorter, and nothing else is different.
    #[test]
    fn happenings_can_be_left_out() {
        let all = run(3, &Options::default());
        let none = run(3, &Options { only: Some(Vec::new()), ..Options::default() });
        assert_eq!(all.hosts, none.hosts);
        assert!(none.moves < all.moves);
    }
}
