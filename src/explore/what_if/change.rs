//! Edits of a recorded step, as people write them.

use super::select::{Selector, factor, pattern, whole};

/// What a change says, for help and messages: form and meaning.
pub const CHANGES: [(&str, &str); 11] = [
    ("scale kernels SELECT time=FACTOR", "kernels take this many times as long"),
    ("remove kernels SELECT", "kernels and their launches are gone"),
    (
        "fuse kernels SELECT [time=FACTOR] [traffic=saved]",
        "neighbours on a stream become one launch that takes FACTOR (1) of their sum; with `saved` \
         passes of known shapes neither write nor read what one hands to the next",
    ),
    (
        "remove sync SELECT",
        "calls that wait for the device, blocking copies among them, do not wait",
    ),
    ("remove host SELECT", "host time inside of what `within` names is gone, calls remain"),
    ("scale host SELECT time=FACTOR", "host time between calls and in calls"),
    ("graph SELECT", "launches cost the host nothing, as in a CUDA graph"),
    (
        "scale network [SELECT] [bandwidth=FACTOR] [latency=FACTOR]",
        "communication with other links; waiting follows",
    ),
    (
        "overlap SELECT [until=PATTERN]",
        "communication on a stream of its own; compute waits no longer, up to kernels named `until` \
         or the end of the step",
    ),
    ("set data_parallel=RANKS [SELECT]", "the data-parallel group has this many ranks"),
    (
        "set gpu=NAME [from=NAME]",
        "kernels and copies take as long as on another GPU, by calibrated ratio",
    ),
];

/// One edit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Kernels take `time` times as long.
    ScaleKernels {
        /// Which.
        select: Selector,
        /// Factor of their time.
        time: f64,
    },
    /// Kernels are gone, with their launches.
    RemoveKernels {
        /// Which.
        select: Selector,
    },
    /// Neighbours on a stream become one.
    FuseKernels {
        /// Which.
        select: Selector,
        /// Time of the fused kernel over the sum of its parts.
        time: f64,
        /// Whether what one hands to the next does not go through memory.
        saves_traffic: bool,
    },
    /// Calls do not wait for the device.
    RemoveSync {
        /// Which calls.
        select: Selector,
    },
    /// Host time is gone.
    RemoveHost {
        /// Inside of what.
        select: Selector,
    },
    /// Host time is another.
    ScaleHost {
        /// Inside of what.
        select: Selector,
        /// Factor.
        time: f64,
    },
    /// Launches cost the host nothing.
    Graph {
        /// Which.
        select: Selector,
    },
    /// Other links.
    ScaleNetwork {
        /// Which communication.
        select: Selector,
        /// Bandwidth over that of the recording.
        bandwidth: f64,
        /// Latency over that of the recording.
        latency: f64,
    },
    /// Communication beside compute.
    Overlap {
        /// Which communication.
        select: Selector,
        /// Kernels that need its result.
        until: Option<regex::Regex>,
    },
    /// Another number of ranks in data parallelism.
    DataParallel {
        /// Which communication is data-parallel.
        select: Selector,
        /// Ranks.
        ranks: u64,
    },
    /// Another GPU.
    Gpu {
        /// Its name.
        name: String,
        /// The recorded one, where the recording does not say it.
        from: Option<String>,
    },
}

/// An edit that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change `{text}`: {what}")]
pub struct ChangeError {
    /// The edit as written.
    pub text: String,
    /// What is wrong with it.
    pub what: String,
}

/// Words of an edit behind its verb.
struct Words<'a> {
    select: Selector,
    others: Vec<(&'a str, &'a str)>,
}

impl Change {
    /// Reads an edit; see [`CHANGES`].
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, ChangeError> {
        let wrong = |what: String| ChangeError { text: text.to_owned(), what };
        let words = shell_words::split(text).map_err(|error| wrong(error.to_string()))?;
        Self::of_words(&words).map_err(wrong)
    }

    fn of_words(words: &[String]) -> Result<Self, String> {
        let word = |index: usize| words.get(index).map_or("", String::as_str);
        match (word(0), word(1)) {
            ("scale", "kernels") => {
                let mut words = Words::read(&words[2..])?;
                let time = words.needed("time", factor)?;
                let select = words.end()?;
                Ok(Self::ScaleKernels { select, time })
            }
            ("remove", "kernels") => {
                Ok(Self::RemoveKernels { select: Words::read(&words[2..])?.some()? })
            }
            ("fuse", "kernels") => {
                let mut words = Words::read(&words[2..])?;
                let time = words.given("time", factor)?.unwrap_or(1.0);
                let saved = |value: &str| match value {
                    "saved" => Ok(true),
                    _ => Err(format!("`{value}` is not `saved`, which is all that traffic can be")),
                };
                let saves_traffic = words.given("traffic", saved)?.unwrap_or(false);
                Ok(Self::FuseKernels { select: words.some()?, time, saves_traffic })
            }
            ("remove", "sync") => Ok(Self::RemoveSync { select: Words::read(&words[2..])?.end()? }),
            ("remove", "host") => {
                Ok(Self::RemoveHost { select: Words::read(&words[2..])?.some()? })
            }
            ("scale", "host") => {
                let mut words = Words::read(&words[2..])?;
                let time = words.needed("time", factor)?;
                Ok(Self::ScaleHost { select: words.end()?, time })
            }
            ("graph", _) => Ok(Self::Graph { select: Words::read(&words[1..])?.end()? }),
            ("scale", "network") => Self::network(Words::read(&words[2..])?),
            ("overlap", _) => {
                let mut words = Words::read(&words[1..])?;
                let until = words.given("until", pattern)?;
                Ok(Self::Overlap { select: words.end()?, until })
            }
            ("set", _) => Self::set(Words::read(&words[1..])?),
            _ => Err(format!("unknown; a change is one of\n{}", forms())),
        }
    }

    fn network(mut words: Words<'_>) -> Result<Self, String> {
        let positive = |value: &str| match factor(value)? {
            0.0 => Err("a factor of 0 leaves nothing to communicate with".to_owned()),
            factor => Ok(factor),
        };
        let bandwidth = words.given("bandwidth", positive)?;
        let latency = words.given("latency", factor)?;
        if bandwidth.is_none() && latency.is_none() {
            return Err("bandwidth=FACTOR or latency=FACTOR is missing".to_owned());
        }
        let (bandwidth, latency) = (bandwidth.unwrap_or(1.0), latency.unwrap_or(1.0));
        Ok(Self::ScaleNetwork { select: words.end()?, bandwidth, latency })
    }

    fn set(mut words: Words<'_>) -> Result<Self, String> {
        let name = words.given("gpu", |value| Ok(value.to_owned()))?;
        let from = words.given("from", |value| Ok(value.to_owned()))?;
        let ranks = words.given("data_parallel", whole)?;
        match (name, ranks) {
            (Some(name), None) => {
                words.end()?;
                Ok(Self::Gpu { name, from })
            }
            (None, Some(0)) => Err("0 ranks communicate nothing; 1 is the least".to_owned()),
            (None, Some(ranks)) if from.is_none() => {
                Ok(Self::DataParallel { select: words.end()?, ranks })
            }
            _ => Err("either gpu=NAME [from=NAME] or data_parallel=RANKS".to_owned()),
        }
    }
}

/// The forms of changes, one a line.
fn forms() -> String {
    CHANGES.map(|(form, _)| format!("  {form}")).join("\n")
}

impl<'a> Words<'a> {
    fn read(words: &'a [String]) -> Result<Self, String> {
        let mut select = Selector::default();
        let mut others = Vec::new();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(format!("`{word}` is no KEY=VALUE"));
            };
            match select.take(key, value) {
                Some(done) => done?,
                None => others.push((key, value)),
            }
        }
        Ok(Self { select, others })
    }

    /// Takes a key that is no selector.
    fn given<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(at) = self.others.iter().position(|other| other.0 == key) else {
            return Ok(None);
        };
        let (_, value) = self.others.remove(at);
        read(value).map(Some)
    }

    fn needed<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        self.given(key, read)?.ok_or_else(|| format!("{key}=… is missing"))
    }

    /// The selection; keys that nobody took are an error.
    fn end(self) -> Result<Selector, String> {
        match self.others.first() {
            None => Ok(self.select),
            Some((key, _)) => Err(format!(
                "unknown key `{key}`; to select there are {}",
                Selector::KEYS.join(", ")
            )),
        }
    }

    /// A selection that must select something by name, class or place.
    fn some(self) -> Result<Selector, String> {
        let select = self.end()?;
        let is_any = select.name.is_none() && select.class.is_none() && select.within.is_none();
        if is_any {
            return Err("it means everything; select by name=, class= or within=".to_owned());
        }
        Ok(select)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::what_if::ClassOf;
    use crate::work::Class;

    #[test]
    fn changes_are_read_as_they_are_written() {
        let change = Change::parse("scale kernels name='flash fwd' class=attention time=0.5");
        let Ok(Change::ScaleKernels { select, time }) = change else { panic!("{change:?}") };
        assert_eq!((select.class, time), (Some(ClassOf::One(Class::Attention)), 0.5));
        assert!(select.name.unwrap().is_match("void FLASH FWD<3>"));
        for (form, _) in CHANGES {
            let text: String = form
                .replace(['[', ']'], "")
                .replace("SELECT", "name=a")
                .replace("FACTOR", "2")
                .replace("PATTERN", "b")
                .replace("RANKS", "16")
                .replace("NAME", "h100");
            assert!(Change::parse(&text).is_ok(), "{text}: {:?}", Change::parse(&text));
        }
    }

    #[test]
    fn wrong_changes_say_what_would_be_right() {
        for (text, part) in [
            ("", "a change is one of"),
            ("scale kernels name=a", "time=… is missing"),
            ("scale kernels name=a time=fast", "is no factor"),
            ("scale kernels name=a time=-1", "is no factor"),
            ("remove kernels", "means everything"),
            ("fuse kernels name=a traffic=less", "is not `saved`"),
            ("remove kernels name=(", "no pattern"),
            ("remove kernels class=gem", "all that computes), gemm, attention"),
            ("remove kernels nam=x", "unknown key `nam`"),
            ("graph twice", "is no KEY=VALUE"),
            ("scale network name=x", "is missing"),
            ("scale network bandwidth=0", "nothing to communicate with"),
            ("set data_parallel=0", "1 is the least"),
            ("set ranks=3", "either gpu=NAME"),
            ("remove kernels name='a", "missing closing quote"),
        ] {
            let error = Change::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
