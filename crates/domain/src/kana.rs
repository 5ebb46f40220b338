//! Readings of names: what counts as one, and a form in which two readings can be compared.
//!
//! Never stored and never shown: the original string stays what it was, and two equal forms make a *candidate* that
//! a human confirms, never a match. Works on the text alone.

use unicode_normalization::UnicodeNormalization;

/// Whether text is a reading in full-width katakana: katakana, the long-vowel sign, the middle dot and single
/// U+0020 spaces between parts.
pub fn is_katakana_name(text: &str) -> bool {
    let kana = |c: char| matches!(c, 'ァ'..='ヺ' | 'ー' | 'ヽ' | 'ヾ');
    text.split(' ').all(|part| {
        part.starts_with(|c| matches!(c, 'ァ'..='ヺ')) && part.chars().all(|c| kana(c) || c == '・')
    })
}

/// The form for comparison.
///
/// Compatibility forms are unified (half-width kana, full-width letters), spaces and middle dots go, hiragana becomes
/// katakana, small kana large, the ヴ row the バ row, and a long vowel is spelt out the same way however it was
/// written: コウ, コー and コオ are one, and コ stays another.
pub fn comparable(text: &str) -> String {
    let mut form = pass(text);
    // A pass may bring together a kana and a voicing mark that a space parted: again until nothing changes.
    loop {
        let next = pass(&form);
        if next == form {
            return form;
        }
        form = next;
    }
}

fn pass(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> =
        text.nfkc().filter(|c| !c.is_whitespace() && *c != '・').nfc().map(katakana).collect();
    let mut rest = chars.as_slice();
    while let [c, tail @ ..] = rest {
        rest = tail;
        match (*c, tail.first()) {
            // ヴァ is バ: the vowel of the small kana decides the row.
            ('ヴ', Some(small)) if let Some(b) = ba_row(*small) => {
                out.push(b);
                rest = &tail[1..];
            }
            ('ヴ', _) => out.push('ブ'),
            (c, _) => {
                let c = large(c);
                let long = out.chars().next_back().and_then(vowel).and_then(|v| lengthen(v, c));
                out.push(long.unwrap_or(c));
            }
        }
    }
    out
}

fn katakana(c: char) -> char {
    match c {
        'ぁ'..='ゖ' => char::from_u32(c as u32 + 0x60).unwrap_or(c),
        'ゝ' => 'ヽ',
        'ゞ' => 'ヾ',
        c => c,
    }
}

fn ba_row(small: char) -> Option<char> {
    Some(match small {
        'ァ' => 'バ',
        'ィ' => 'ビ',
        'ェ' => 'ベ',
        'ォ' => 'ボ',
        _ => return None,
    })
}

fn large(c: char) -> char {
    match c {
        'ァ' => 'ア',
        'ィ' => 'イ',
        'ゥ' => 'ウ',
        'ェ' => 'エ',
        'ォ' => 'オ',
        'ヵ' => 'カ',
        'ヶ' => 'ケ',
        'ッ' => 'ツ',
        'ャ' => 'ヤ',
        'ュ' => 'ユ',
        'ョ' => 'ヨ',
        'ヮ' => 'ワ',
        'ヷ' => 'バ',
        'ヸ' => 'ビ',
        'ヹ' => 'ベ',
        'ヺ' => 'ボ',
        c => c,
    }
}

/// The vowel on which a katakana ends.
fn vowel(c: char) -> Option<char> {
    const ROWS: [(char, &str); 5] = [
        ('ア', "アカサタナハマヤラワガザダバパ"),
        ('イ', "イキシチニヒミリヰギジヂビピ"),
        ('ウ', "ウクスツヌフムユルグズヅブプ"),
        ('エ', "エケセテネヘメレヱゲゼデベペ"),
        ('オ', "オコソトノホモヨロヲゴゾドボポ"),
    ];
    ROWS.iter().find(|(_, row)| row.contains(c)).map(|(vowel, _)| *vowel)
}

/// What a sign that lengthens the vowel before it is spelt as.
fn lengthen(before: char, sign: char) -> Option<char> {
    match (before, sign) {
        (vowel, 'ー') => Some(vowel),
        ('オ', 'ウ') => Some('オ'),
        ('エ', 'イ') => Some('エ'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_reading_compare_equal() {
        for (a, b) in [
            ("ｺｳ ｵﾂ", "コウ　オツ"),
            ("こう おつ", "コウオツ"),
            ("コーヘイ", "こうへー"),
            ("オオノ", "オーノ"),
            ("キョウコ", "キヨーコ"),
            ("ヴィオラ", "ビオラ"),
            ("ｳﾞｧﾆﾗ", "バニラ"),
            ("ゔぁにら", "バニラ"),
            ("ルイ・アン", "ルイ アン"),
            ("イッペイ", "イツペイ"),
            ("ﾊﾞ", "ハ\u{3099}"),
        ] {
            assert_eq!(comparable(a), comparable(b), "{a} {b}");
        }
    }

    #[test]
    fn different_readings_stay_different() {
        for (a, b) in
            [("コウタ", "コタ"), ("ユウ", "ユイ"), ("ハナ", "バナ"), ("ミウ", "ミオ"), ("アイ", "アエ")]
        {
            assert_ne!(comparable(a), comparable(b), "{a} {b}");
        }
    }

    #[test]
    fn a_reading_is_full_width_katakana_in_parts() {
        for text in ["コウ オツ", "ヴァイオレット", "ルー・アン", "コウ"] {
            assert!(is_katakana_name(text), "{text}");
        }
        for text in
            ["", " ", "コウ  オツ", "コウ ", "ーコ", "・", "ｺｳ", "こう", "甲", "KO", "コウ\u{3000}オツ"]
        {
            assert!(!is_katakana_name(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_form_for_comparison_is_a_fixed_point(text in "[ぁ-ゖァ-ヾｦ-ﾟー・ \u{3099}\u{309a}\u{309b}\u{3000}a-zＡ-Ｚ]{0,24}") {
            let once = comparable(&text);
            prop_assert_eq!(comparable(&once), once);
        }

        #[test]
        fn any_text_has_a_form(text in any::<String>()) {
            let once = comparable(&text);
            prop_assert_eq!(comparable(&once), once);
        }

        #[test]
        fn hiragana_and_katakana_of_one_reading_compare_equal(text in "[ぁ-ゖ]{1,20}") {
            let kata: String = text.chars().map(katakana).collect();
            prop_assert_eq!(comparable(&text), comparable(&kata));
        }
    }
}
