//! What is wrong with an input, where, and what would be right.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A text that inputs come from: a file, a shipped file, or an argument of the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Name for people.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Folder that relative paths in it start from; absent for shipped files.
    pub folder: Option<PathBuf>,
}

/// A piece of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub file: Arc<SourceFile>,
    /// Bytes of it.
    pub span: Range<usize>,
}

impl Place {
    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        self.before().chars().rev().take_while(|&letter| letter != '\n').count() + 1
    }

    fn before(&self) -> &str {
        let start = floor_boundary(&self.file.text, self.span.start);
        &self.file.text[..start]
    }

    /// The span, inside the text and on character boundaries.
    fn safe_span(&self) -> Range<usize> {
        let text = &self.file.text;
        let start = floor_boundary(text, self.span.start);
        let end = floor_boundary(text, self.span.end).max(start);
        // A table's span may hold many lines; its first one is enough to find it.
        let first_line = text[start..end].find('\n').map_or(end, |newline| start + newline);
        start..first_line
    }
}

/// The largest character boundary at or below `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// One thing that is wrong with an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Dotted key, such as `plan.tp`; empty when the whole file is meant.
    pub key: String,
    /// The value found, as text, where it helps.
    pub found: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where it is written.
    pub place: Option<Place>,
}

impl Problem {
    /// A problem of a key, with no place or hint yet.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), found: None, message: message.into(), hint: None, place: None }
    }

    /// With the value found.
    #[must_use]
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.found = Some(found.to_string());
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// Name of the file, where there is one.
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.file.name.as_str())
    }

    /// Line, from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(Place::line)
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(Place::column)
    }

    /// Key, value and message in one line, without the place.
    fn title(&self) -> String {
        match (self.key.is_empty(), &self.found) {
            (true, _) => self.message.clone(),
            (false, Some(found)) => format!("{} = {found}: {}", self.key, self.message),
            (false, None) => format!("{}: {}", self.key, self.message),
        }
    }

    /// As rustc would show it: title, underlined text, help; with ANSI colours when asked.
    pub fn render(&self, colour: bool) -> String {
        let title = self.title();
        let mut group = Group::with_title(Level::ERROR.primary_title(title.as_str()));
        if let Some(place) = &self.place {
            group = group.element(
                Snippet::source(place.file.text.as_str())
                    .path(place.file.name.as_str())
                    .annotation(AnnotationKind::Primary.span(place.safe_span())),
            );
        }
        if let Some(hint) = &self.hint {
            group = group.element(Element::from(Level::HELP.message(hint.as_str())));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

impl fmt::Display for Problem {
    /// In one line: `file:line:column: key = found: message; hint`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{}:{}:{}: ", place.file.name, place.line(), place.column())?;
        }
        formatter.write_str(&self.title())?;
        match &self.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with an input; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` when there are none; else all of them, in order of place.
    ///
    /// # Errors
    /// When `problems` is not empty.
    pub fn check(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        let order = |problem: &Problem| {
            problem.place.as_ref().map(|place| (place.file.name.clone(), place.span.start))
        };
        problems.sort_by_cached_key(order);
        problems.dedup();
        Err(Self(problems))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// All of them as rustc would show them, a blank line between two.
    pub fn render(&self, colour: bool) -> String {
        self.0.iter().map(|problem| problem.render(colour)).collect::<Vec<_>>().join("\n\n")
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    /// One line each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
