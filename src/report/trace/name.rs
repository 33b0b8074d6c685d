//! Names of kernels as people can read them.

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
