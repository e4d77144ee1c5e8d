//! Times of archives.

/// Unix epoch nanoseconds of an RFC 3339 time. Lenient as archives are: a space for the `T`, an offset without colon, none for UTC.
/// `None` for what is no time, or before 1970.
pub(super) fn epoch_ns(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let number = |from: usize, count: usize| -> Option<i64> {
        let digits = text.get(from..from + count)?;
        digits.iter().try_fold(0i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, allowed: &[u8]| text.get(at).is_some_and(|byte| allowed.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !in_range {
        return None;
    }
    let mut at = 19;
    let mut fraction_ns = 0;
    if is(at, b".,") {
        at += 1;
        let mut scale = 100_000_000;
        while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            fraction_ns += i64::from(digit - b'0') * scale;
            scale /= 10;
            at += 1;
        }
    }
    let offset_s = offset_s(text.get(at..)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    let ns = seconds.checked_mul(1_000_000_000)?.checked_add(fraction_ns)?;
    u64::try_from(ns).ok()
}

/// `Z`, `+02:00`, `-0530`, nothing.
fn offset_s(text: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    match text {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), a, b, b':', c, d] | [sign @ (b'+' | b'-'), a, b, c, d] => {
            let hours = digit(a)? * 10 + digit(b)?;
            let minutes = digit(c)? * 10 + digit(d)?;
            let offset = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: whole eras of 400 years, then the days of a year that begins in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expect) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2025-06-24T06:00:00.000Z", Some(1_750_744_800_000_000_000)),
            ("2025-06-24T08:00:00.5+02:00", Some(1_750_744_800_500_000_000)),
            ("2025-06-24T00:30:00-0530", Some(1_750_744_800_000_000_000)),
            ("2025-06-24 06:00:00,123456789z", Some(1_750_744_800_123_456_789)),
            ("2025-06-24T06:00:00.1234567899", Some(1_750_744_800_123_456_789)),
            ("2000-02-29T23:59:60Z", Some(951_868_800_000_000_000)),
            ("2024-12-31T23:59:59Z", Some(1_735_689_599_000_000_000)),
            ("1969-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("2025-13-24T06:00:00Z", None),
            ("2025-06-24", None),
            ("2025-06-24T06:00:00+2", None),
            ("", None),
            ("Tue Jun 24 2025", None),
        ] {
            assert_eq!(epoch_ns(text.as_bytes()), expect, "{text}");
        }
    }
}
