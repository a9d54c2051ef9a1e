//! `[[group.test]]` and `[group.scripts]`

mod kinds;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::checked::{Scripts, Test};
use super::facts::Facts;
use super::reader::{At, Section};

/// Most test or load objects of one group.
pub(super) const MAX_OBJECTS: usize = 64;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// `kind` of a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Script,
    File,
    Interface,
    Http,
    Dns,
}

/// The test objects of a group.
pub(super) fn tests(group: &Section<'_>, facts: &dyn Facts) -> Vec<Test> {
    let sections = group.tables("test", "[[group.test]]");
    if let Some(extra) = sections.get(MAX_OBJECTS) {
        extra.mistake(format!("more than {MAX_OBJECTS} test objects in one group"));
    }
    let mut seen = BTreeMap::new();
    let mut tests = Vec::with_capacity(sections.len());
    for section in sections.into_iter().take(MAX_OBJECTS) {
        tests.extend(test(section, &mut seen, facts));
    }
    tests
}

fn test<'a>(
    section: Section<'a>,
    seen: &mut BTreeMap<&'a str, usize>,
    facts: &dyn Facts,
) -> Option<Test> {
    let name = section.string("name", "a name in quotes");
    let name = section.required("name", name, "a name that is unique in the group");
    if let Some(At { value, offset }) = name {
        section.document().once(seen, value, offset, |first| {
            format!("test `{value}` is there already, in line {first}; names are unique")
        });
    }
    let kind = section.choice(
        "kind",
        &[
            ("tcp", Kind::Tcp),
            ("script", Kind::Script),
            ("file", Kind::File),
            ("interface", Kind::Interface),
            ("http", Kind::Http),
            ("dns", Kind::Dns),
        ],
    );
    let expected = "\"tcp\", \"script\", \"file\", \"interface\", \"http\" or \"dns\"";
    let word = section.required("kind", kind, expected)?.value;
    let kind = match word {
        Kind::Tcp => kinds::tcp(&section),
        Kind::Script => kinds::script(&section, facts),
        Kind::File => kinds::file(&section),
        Kind::Interface => kinds::interface(&section),
        Kind::Http => kinds::http(&section, facts),
        Kind::Dns => kinds::dns(&section),
    };
    let interval = section.duration("interval", MILLISECOND);
    let timeout = section.duration("timeout", MILLISECOND);
    let rise = section.number("rise", 1);
    let fall = section.number("fall", 1);
    section.finish();
    // That a link is gone is known for certain.
    let default_fall = if word == Kind::Interface { 1 } else { 3 };
    Some(Test {
        name: name?.value.to_owned(),
        kind: kind?,
        interval: interval.map_or(Duration::from_secs(1), |at| at.value),
        timeout: timeout.map_or(Duration::from_millis(500), |at| at.value),
        rise: rise.map_or(2, |at| at.value),
        fall: fall.map_or(default_fall, |at| at.value),
    })
}

/// The program to run and its arguments.
pub(super) fn command(section: &Section<'_>, facts: &dyn Facts) -> Option<Vec<String>> {
    let expected = "the path of a program in quotes, or a list of it and its arguments";
    let command = section.string_or_list("command", expected);
    let command = section.required("command", command, expected)?;
    let program = command.value.first()?;
    check_program("command", &command.with(Path::new(program)), section, facts);
    Some(command.value)
}

/// Reports a program that cannot be run.
pub(super) fn check_program(key: &str, path: &At<&Path>, section: &Section<'_>, facts: &dyn Facts) {
    let shown = path.value.display();
    let problem = if path.value.is_absolute() {
        facts.program(path.value).err()
    } else {
        Some("expected an absolute path".to_owned())
    };
    if let Some(problem) = problem {
        section.document().mistake(path.offset, format!("`{key}`: program {shown}: {problem}"));
    }
}

/// The scripts of a group.
pub(super) fn scripts(group: &Section<'_>, facts: &dyn Facts) -> Scripts {
    let mut scripts = Scripts { timeout: Duration::from_secs(10), ..Scripts::default() };
    let Some(section) = group.table("scripts", "[group.scripts]") else { return scripts };
    let program = |key| {
        let path = section.path(key)?;
        check_program(key, &path.with(path.value.as_path()), &section, facts);
        Some(path.value)
    };
    scripts.acquire = program("acquire");
    scripts.release = program("release");
    scripts.test_failed = program("test_failed");
    scripts.cannot_assign = program("cannot_assign");
    if let Some(at) = section.duration("timeout", MILLISECOND) {
        scripts.timeout = at.value;
    }
    section.finish();
    scripts
}
