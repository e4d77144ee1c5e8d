//! Numbers and times for people.

use crate::timestamp::Timestamp;

/// Bytes in binary units: `1.5 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", three_digits(value))
}

/// Microseconds in the unit that fits: `1.5 ms`.
pub fn duration(us: u64) -> String {
    let value = us as f64;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", three_digits(value / 1e3)),
        1_000_000..60_000_000 => format!("{} s", three_digits(value / 1e6)),
        _ => format!("{}m{:02}s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// A count: exact below a hundred thousand, then `123k`, `4.56M`.
pub fn count(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..1_000_000 => format!("{}k", three_digits(count as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}M", three_digits(count as f64 / 1e6)),
        _ => format!("{}G", three_digits(count as f64 / 1e9)),
    }
}

/// A number per second.
pub fn rate(per_second: f64) -> String {
    if per_second >= 100.0 {
        format!("{per_second:.0}")
    } else {
        three_digits(per_second)
    }
}

/// Share of errors in calls, as percent; empty when there are none.
pub fn share(errors: u64, calls: u64) -> String {
    if errors == 0 || calls == 0 {
        return String::new();
    }
    format!("{} %", three_digits(errors as f64 * 100.0 / calls as f64))
}

/// Share of a part in a whole, as percent, rounded down: `100 %` only where nothing is missing. Empty where there is no whole.
pub fn whole_share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let hundredths = u128::from(part) * 10_000 / u128::from(whole);
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole} %"),
        (whole, rest) => format!("{whole}.{rest:02} %"),
    }
}

/// A time to the second, UTC: `2026-01-01 12:00:00`.
pub fn time(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// A text without control characters, which a terminal would obey.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        // Direction marks reorder what surrounds them.
        let reorders =
            matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_durations_and_counts() {
        for (value, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (15_000, "14.6 KiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), want);
        }
        for (value, want) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1500, "1.50 ms"),
            (999_999, "1000 ms"),
            (2_500_000, "2.50 s"),
            (61_000_000, "1m01s"),
        ] {
            assert_eq!(duration(value), want);
        }
        for (value, want) in [
            (99_999, "99999"),
            (123_456, "123k"),
            (4_560_000, "4.56M"),
            (7_000_000_000, "7.00G"),
        ] {
            assert_eq!(count(value), want);
        }
        assert_eq!((share(0, 5), share(1, 3)), (String::new(), "33.3 %".to_owned()));
        for (part, whole, want) in [
            (0, 0, ""),
            (0, 7, "0 %"),
            (7, 7, "100 %"),
            (u64::MAX - 1, u64::MAX, "99.99 %"),
            (1, 3, "33.33 %"),
            (1, 16, "6.25 %"),
            (1, 1000, "0.10 %"),
        ] {
            assert_eq!(whole_share(part, whole), want);
        }
    }

    #[test]
    fn control_characters_are_spelt_out() {
        assert_eq!(
            safe("/a\u{1b}[2Jé\r\n\u{202e}"),
            "/a\\u{1b}[2Jé\\u{d}\\u{a}\\u{202e}"
        );
    }
}
