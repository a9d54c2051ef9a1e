//! Durations as they are written in the configuration: `100ms`, `1h30m`, `365d`.

use std::time::Duration;

/// The units, for messages.
pub(super) const UNITS: &str = "units are us, ms, s, m, h and d, a day being 24 h";

/// Longest duration understood: 100 years of 365 days.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// Nanoseconds of a unit.
fn unit(name: &str) -> Option<u128> {
    Some(match name {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    })
}

/// Reads whole numbers, each with its unit, and adds them up.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return Err(format!("expected a duration such as \"100ms\" ({UNITS})"));
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (name, after) = split(after.trim_start(), char::is_alphabetic);
        if number.is_empty() {
            return Err(format!("expected whole numbers, each with its unit ({UNITS})"));
        }
        if name.is_empty() {
            return Err(format!("the unit is missing after {number} ({UNITS})"));
        }
        let unit = unit(name).ok_or_else(|| format!("`{name}` is no unit of time ({UNITS})"))?;
        nanos = number
            .parse::<u128>()
            .ok()
            .and_then(|n| n.checked_mul(unit)?.checked_add(nanos))
            .filter(|sum| *sum <= LONGEST.as_nanos())
            .ok_or_else(|| "longer than 100 years".to_owned())?;
        rest = after.trim_start();
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|e| e.to_string())
}

/// `text` up to the first character that is not `wanted`, and the rest.
fn split(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A duration in the largest unit that shows it whole.
pub(super) fn show(span: Duration) -> String {
    let nanos = span.as_nanos();
    for name in ["d", "h", "m", "s", "ms", "us"] {
        if let Some(unit) = unit(name)
            && nanos > 0
            && nanos.is_multiple_of(unit)
        {
            return format!("{}{name}", nanos / unit);
        }
    }
    format!("{nanos}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read() {
        for (text, millis) in [
            ("100ms", 100),
            ("1 s", 1_000),
            ("1h30m", 5_400_000),
            ("1m 30s", 90_000),
            ("365d", 31_536_000_000),
            ("2000us", 2),
            ("2min", 120_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_refused() {
        for (text, part) in [
            ("", "expected a duration"),
            ("100", "the unit is missing after 100"),
            ("100 parsecs", "`parsecs` is no unit of time"),
            ("-1s", "expected whole numbers"),
            ("1.5s", "the unit is missing after 1"),
            ("ms", "expected whole numbers"),
            ("36501d", "longer than 100 years"),
            ("99999999999999999999999999999999999999999s", "longer than 100 years"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn durations_shown_read_the_same() {
        for text in ["350ms", "1s", "90s", "365d", "1500us"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
