//! Kubernetes quantities, as far as sizes of volumes need them.

/// Bytes, or nothing if the text is no quantity.
pub fn bytes(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: u128 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u128>().ok()?.checked_mul(factor)?;
    // Nine digits tell any two sizes apart that a volume can have.
    let part = &part[..part.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let fraction = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? * factor / scale };
    Some(whole + fraction)
}

/// The greater of two sizes; what cannot be read loses.
pub fn greater<'a>(a: &'a str, b: &'a str) -> &'a str {
    if bytes(b) > bytes(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_compare_by_bytes_and_not_by_text() {
        assert_eq!(bytes("1.5Gi"), Some(1_610_612_736));
        assert_eq!(greater("5Gi", "900Mi"), "5Gi");
        assert_eq!(greater("5G", "5Gi"), "5Gi");
        assert_eq!(greater("5Gi", "nonsense"), "5Gi");
        assert_eq!(greater("5Gi", "5368709121"), "5368709121");
    }
}
