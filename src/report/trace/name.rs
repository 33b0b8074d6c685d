//! Names of kernels as people can read them.

use std::collections::{BTreeMap, BTreeSet};

/// A kernel's name in so many columns at most: without return type, parameters, namespaces and
/// long template arguments; what is still too long is cut in its middle.
pub fn short(name: &str, columns: usize) -> String {
    let plain = name.strip_prefix("void ").unwrap_or(name);
    let plain = cut_parameters(&plain.replace("(anonymous namespace)::", ""));
    let whole = without_namespaces(&plain);
    let is_short = |text: &String| text.chars().count() <= columns;
    let shorter = || [3, 2].into_iter().map(|deep| without_arguments(&whole, deep));
    let fitting = [whole.clone()].into_iter().chain(shorter()).find(is_short);
    // What tells kernels of a template apart stands in its arguments, mostly at their front.
    fitting.unwrap_or_else(|| middle(&without_arguments(&whole, 2), columns))
}

/// Names of different kernels in so many columns at most each: where [`short`] would make them
/// equal, with what tells them apart behind it.
pub(super) fn distinct(names: &[&str], columns: usize) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        alike.entry(short(name, columns)).or_default().push(index);
    }
    let mut shortened = vec![String::new(); names.len()];
    for (text, group) in alike {
        let full: Vec<&str> = group.iter().map(|&index| names[index]).collect();
        let plain: Vec<String> = full.iter().map(|name| cut_parameters(name)).collect();
        let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
        let own = apart(if is_told_apart(&plain) { &plain } else { &full });
        for (index, own) in group.into_iter().zip(own) {
            shortened[index] = if own.is_empty() {
                text.clone()
            } else {
                let own = middle(own, columns / 2);
                let left = columns.saturating_sub(own.chars().count() + 3);
                format!("{} ({own})", short(names[index], left))
            };
        }
    }
    shortened
}

fn is_told_apart(texts: &[&str]) -> bool {
    texts.iter().collect::<BTreeSet<_>>().len() == texts.len()
}

/// What is left of texts without the words that all begin and all end with.
fn apart<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    let Some((first, others)) = texts.split_first() else { return Vec::new() };
    if others.is_empty() {
        return vec![""];
    }
    let least = texts.iter().map(|text| text.len()).min().unwrap_or(0);
    let shared = |same: &dyn Fn(usize, &&str) -> bool, least: usize| {
        (0..least).take_while(|&at| others.iter().all(|other| same(at, other))).count()
    };
    let bytes = first.as_bytes();
    let ahead = shared(&|at, other| other.as_bytes()[at] == bytes[at], least);
    let from_end = |text: &str, at: usize| text.as_bytes()[text.len() - 1 - at];
    let behind = shared(&|at, other| from_end(other, at) == from_end(first, at), least - ahead);
    let is_word = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    let own = |text: &&'a str| {
        let (mut from, mut to) = (ahead, text.len() - behind);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        while !text.is_char_boundary(to) {
            to += 1;
        }
        from -= text[..from].chars().rev().take_while(is_word).map(char::len_utf8).sum::<usize>();
        to += text[to..].chars().take_while(is_word).map(char::len_utf8).sum::<usize>();
        &text[from..to]
    };
    texts.iter().map(own).collect()
}

/// What stands before the parameter list that closes the name.
fn cut_parameters(name: &str) -> String {
    if !name.ends_with(')') {
        return name.to_owned();
    }
    let (mut angle, mut round) = (0_i32, 0_i32);
    for (index, letter) in name.char_indices() {
        match letter {
            '<' => angle += 1,
            '>' => angle -= 1,
            // Names of copies: `Memcpy HtoD (Pageable -> Device)`.
            '(' if angle == 0 && name[..index].ends_with(' ') => return name.to_owned(),
            '(' if angle == 0 && round == 0 && index > 0 => return name[..index].to_owned(),
            '(' => round += 1,
            ')' => round -= 1,
            _ => {}
        }
    }
    name.to_owned()
}

/// `at::native::add<at::Half>` as `add<Half>`.
fn without_namespaces(name: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ':' && letters.peek() == Some(&':') {
            letters.next();
            word.clear();
        } else if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
        } else {
            text.push_str(&std::mem::take(&mut word));
            text.push(letter);
        }
    }
    text + &word
}

/// Arguments of templates so deep as `<…>`.
fn without_arguments(name: &str, deep: usize) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for letter in name.chars() {
        match letter {
            '<' => {
                depth += 1;
                if depth <= deep {
                    text.push('<');
                }
                if depth == deep {
                    text.push('…');
                }
            }
            '>' if depth > 0 => {
                if depth <= deep {
                    text.push('>');
                }
                depth -= 1;
            }
            _ if depth < deep => text.push(letter),
            _ => {}
        }
    }
    text
}

fn middle(name: &str, columns: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= columns || columns < 3 {
        return letters.into_iter().take(columns).collect();
    }
    let front = columns.div_ceil(2);
    let back = letters.len() - (columns - front - 1);
    let text: String = letters[..front].iter().collect();
    text + "…" + &letters[back..].iter().collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_alike_say_what_tells_them_apart() {
        let names = [
            "void cutlass::device_kernel<dpsk::cuda::m_grouped_fp8::GemmKernel>(int)",
            "void cutlass::device_kernel<dpsk::cuda::fp8_acc::GemmKernel>(int)",
            "void at::add<int>(int*)",
            "Memset",
        ];
        let expected = [
            "device_kernel<GemmKernel> (m_grouped_fp8)",
            "device_kernel<GemmKernel> (fp8_acc)",
            "add<int>",
            "Memset",
        ];
        assert_eq!(distinct(&names, 50), expected);
        assert_eq!(distinct(&["a::é", "b::é", "a::é"], 50), ["é (a)", "é (b)", "é (a)"]);
        assert_eq!(distinct(&[], 50), Vec::<String>::new());
        let narrow = distinct(&names, 20);
        assert!(narrow.iter().all(|name| name.chars().count() <= 20), "{narrow:?}");
    }

    #[test]
    fn long_names_keep_what_tells_kernels_apart() {
        let cases = [
            ("volta_sgemm_64x64_nt", "volta_sgemm_64x64_nt"),
            ("void at::native::reduce_kernel<128, 4>(at::Arg<int>)", "reduce_kernel<128, 4>"),
            ("Memcpy HtoD (Pageable -> Device)", "Memcpy HtoD (Pageable -> Device)"),
            ("void a::(anonymous namespace)::f<at::Half, (x)1>(int*)", "f<Half, (x)1>"),
            ("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", "ncclDevKernel_Generic"),
        ];
        for (name, expected) in cases {
            assert_eq!(short(name, 40), expected);
        }
        let long = format!("void elementwise<{}>(int)", "at::Half, ".repeat(20));
        assert_eq!(short(&long, 30), "elementwise<Hal… Half, Half, >");
        let deep = "void kernel<4, Functor<Add<float>, int>, Array<char*, 2> >(int)";
        assert_eq!(short(deep, 50), "kernel<4, Functor<Add<…>, int>, Array<char*, 2> >");
        assert_eq!(short(deep, 40), "kernel<4, Functor<…>, Array<…> >");
        assert_eq!(short("abcdefghij", 5), "abc…j");
        assert_eq!(short("(", 9), "(");
    }
}
