//! Characters and key names as X keysyms.

/// The keysym that types `c`. Control characters that have a key of their own are that key.
pub fn from_char(c: char) -> u32 {
    match c {
        '\n' | '\r' => 0xff0d,
        '\t' => 0xff09,
        '\u{8}' => 0xff08,
        '\u{1b}' => 0xff1b,
        '\u{7f}' => 0xffff,
        c if (c as u32) < 0x100 => c as u32,
        c => 0x0100_0000 | c as u32,
    }
}

/// The character that `symbol` types; `None` for keys that type none, and for those that are keys first: Return, Tab, `BackSpace`.
pub fn to_char(symbol: u32) -> Option<char> {
    match symbol {
        0x20..=0x7e | 0xa0..=0xff => char::from_u32(symbol),
        0x0100_0100..=0x0110_ffff => char::from_u32(symbol & 0x00ff_ffff),
        _ => None,
    }
}

/// The keysym of a key name as xdotool and people write it: `Return`, `ctrl`, `Page_Down`, `F5`, `a`.
pub fn from_name(name: &str) -> Option<u32> {
    let mut chars = name.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return Some(from_char(c));
    }
    let lower: String = name.to_ascii_lowercase().chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect();
    if let Some(number) = lower.strip_prefix('f').and_then(|n| n.parse::<u32>().ok()) {
        return (1..=24).contains(&number).then(|| 0xffbd + number);
    }
    if let Some(digit) = lower.strip_prefix("kp").and_then(|n| n.parse::<u32>().ok()) {
        return (digit <= 9).then(|| 0xffb0 + digit);
    }
    let symbol = match lower.as_str() {
        "return" | "enter" => 0xff0d,
        "kpenter" => 0xff8d,
        "tab" => 0xff09,
        "isolefttab" => 0xfe20,
        "backspace" => 0xff08,
        "escape" | "esc" => 0xff1b,
        "delete" | "del" => 0xffff,
        "insert" | "ins" => 0xff63,
        "home" => 0xff50,
        "left" | "arrowleft" => 0xff51,
        "up" | "arrowup" => 0xff52,
        "right" | "arrowright" => 0xff53,
        "down" | "arrowdown" => 0xff54,
        "pageup" | "prior" | "pgup" => 0xff55,
        "pagedown" | "next" | "pgdn" => 0xff56,
        "end" => 0xff57,
        "print" | "printscreen" => 0xff61,
        "pause" => 0xff13,
        "menu" => 0xff67,
        "shift" | "shiftl" => 0xffe1,
        "shiftr" => 0xffe2,
        "ctrl" | "control" | "ctrll" | "controll" => 0xffe3,
        "ctrlr" | "controlr" => 0xffe4,
        "capslock" => 0xffe5,
        "meta" | "metal" => 0xffe7,
        "metar" => 0xffe8,
        "alt" | "altl" | "option" => 0xffe9,
        "altr" => 0xffea,
        "altgr" | "isolevel3shift" => 0xfe03,
        "super" | "superl" | "win" | "cmd" | "command" => 0xffeb,
        "superr" => 0xffec,
        "space" => 0x20,
        "plus" => 0x2b,
        "minus" => 0x2d,
        "equal" => 0x3d,
        "comma" => 0x2c,
        "period" => 0x2e,
        "slash" => 0x2f,
        "backslash" => 0x5c,
        "semicolon" => 0x3b,
        "apostrophe" => 0x27,
        "grave" => 0x60,
        "bracketleft" => 0x5b,
        "bracketright" => 0x5d,
        "underscore" => 0x5f,
        _ => return None,
    };
    Some(symbol)
}

/// The keysyms of a combination such as `ctrl+shift+t`, in the order in which they are pressed. The error is the part that is no key.
pub fn from_combination(text: &str) -> Result<Vec<u32>, String> {
    if text == "+" {
        return Ok(vec![0x2b]);
    }
    // `ctrl++` is Control and the plus key.
    let (head, plus) = match text.strip_suffix("++") {
        Some(head) => (head, true),
        None => (text, false),
    };
    let mut keys = head
        .split('+')
        .map(|part| from_name(part.trim()).ok_or_else(|| part.to_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    if plus {
        keys.push(0x2b);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!(from_combination("ctrl+Shift+t"), Ok(vec![0xffe3, 0xffe1, 0x74]));
        assert_eq!(from_combination("Page_Down"), Ok(vec![0xff56]));
        assert_eq!(from_combination("F12"), Ok(vec![0xffc9]));
        assert_eq!(from_combination("ctrl++"), Ok(vec![0xffe3, 0x2b]));
        assert_eq!(from_combination("ctrl+hyperdrive"), Err("hyperdrive".into()));
        assert_eq!(from_combination(""), Err(String::new()));
        assert_eq!(from_combination("f99"), Err("f99".into()));
    }

    #[test]
    fn characters_outside_latin_1_become_unicode_keysyms() {
        assert_eq!(from_char('ä'), 0xe4);
        assert_eq!(from_char('Ж'), 0x0100_0416);
        assert_eq!(from_char('\n'), 0xff0d);
        for c in ['a', 'ä', 'Ж', '漢', '😀'] {
            assert_eq!(to_char(from_char(c)), Some(c));
        }
        assert_eq!(to_char(0xff0d), None, "a key");
    }
}
