//! Results as JUnit XML, in the form that Jenkins, GitLab and cargo-nextest agree on: a suite for each spec, a case for
//! each test in the order in which they stand there, with what it wrote and the report of its run.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite, XmlString};

use crate::report::cases::{Answer, State};
use crate::testing::{Attempt, Case, Record, Results, Status};

/// Returns the document.
///
/// # Errors
/// None that these types can cause; the writer of XML has errors for others.
pub fn document(cases: &[Case], results: &Results) -> Result<Vec<u8>, quick_junit::SerializeError> {
    let mut suites: BTreeMap<&str, Vec<(&Case, &Record)>> = BTreeMap::new();
    for record in &results.records {
        if let Some(case) = cases.get(record.case) {
            suites.entry(&case.spec).or_default().push((case, record));
        }
    }
    let mut report = Report::new("sbx test");
    report.set_timestamp(chrono_time(results.started_at)).set_time(results.duration);
    for (spec, mut records) in suites {
        records.sort_by_key(|(_, record)| record.case);
        let mut suite = TestSuite::new(xml(spec));
        let time: Duration = records.iter().flat_map(|(_, record)| &record.attempts).map(|it| it.duration).sum();
        suite.set_time(time);
        for (case, record) in records {
            suite.add_test_case(test_case(case, record));
        }
        report.add_test_suite(suite);
    }
    report.to_string().map(String::into_bytes)
}

/// Returns the document of a call without results, with what became of it and why: who reads it must not see a green
/// one of an earlier call.
///
/// # Errors
/// Those of [`document`].
pub fn refused(what: &str, why: &str) -> Result<Vec<u8>, quick_junit::SerializeError> {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("error").set_message(what).set_description(xml(why));
    let mut suite = TestSuite::new("sbx test");
    suite.add_test_case(TestCase::new("sbx test", status));
    let mut report = Report::new("sbx test");
    report.set_timestamp(chrono_time(SystemTime::now()));
    report.add_test_suite(suite);
    report.to_string().map(String::into_bytes)
}

/// Returns what XML can hold of `text` (XML 1.0, "Characters"): quick-junit takes out the other characters that it
/// cannot, and what terminals obey.
fn xml(text: &str) -> XmlString {
    XmlString::new(text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"))
}

fn chrono_time(time: SystemTime) -> chrono::DateTime<chrono::FixedOffset> {
    chrono::DateTime::<chrono::Utc>::from(time).fixed_offset()
}

fn test_case(case: &Case, record: &Record) -> TestCase {
    let last = record.attempts.last();
    let mut junit = TestCase::new(xml(&case.name), status(record));
    junit.set_classname(xml(&case.spec));
    junit.extra.insert("file".into(), xml(&case.file));
    junit.extra.insert("line".into(), case.place.0.to_string().into());
    if let Some(Attempt { answer, started_at, duration }) = last {
        junit.set_time(*duration).set_timestamp(chrono_time(*started_at));
        junit.set_system_out(xml(&answer.stdout)).set_system_err(xml(&answer.stderr));
        if let Some(report) = &answer.report {
            junit.add_property(Property::new("sbx.report", xml(report.trim_end())));
        }
    }
    junit
}

fn status(record: &Record) -> TestCaseStatus {
    let Some((last, before)) = record.attempts.split_last() else {
        let mut skipped = TestCaseStatus::skipped();
        skipped.set_message("not run");
        return skipped;
    };
    let mut status = match record.status() {
        Status::Passed | Status::Flaky | Status::NotRun => TestCaseStatus::success(),
        Status::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Error | Status::Canceled => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let kind = if record.status() == Status::Failed { "failure" } else { "error" };
    if !matches!(record.status(), Status::Passed | Status::Flaky) {
        let (message, description) = words(&last.answer);
        status.set_type(kind).set_message(message).set_description(description);
    }
    for attempt in before {
        let (message, description) = words(&attempt.answer);
        let (non_success, kind) = match attempt.answer.state {
            State::Passed | State::Failed => (NonSuccessKind::Failure, "failure"),
            State::Error | State::Canceled => (NonSuccessKind::Error, "error"),
        };
        let mut rerun = TestRerun::new(non_success);
        rerun.set_type(kind).set_message(message).set_description(description);
        rerun.set_time(attempt.duration).set_timestamp(chrono_time(attempt.started_at));
        rerun.set_system_out(xml(&attempt.answer.stdout)).set_system_err(xml(&attempt.answer.stderr));
        status.add_rerun(rerun);
    }
    status
}

/// Returns the first thing that is wrong, and all of it.
fn words(answer: &Answer) -> (XmlString, XmlString) {
    let first = answer.failures.first().map_or_else(|| answer.ended.clone(), |failure| failure.message.clone());
    let all = answer.failures.iter().map(|failure| {
        let difference = failure.difference.as_ref().map(|text| format!("\n- expected + found\n{text}"));
        format!(
            "{}:{}:{}: {}{}",
            failure.file,
            failure.line,
            failure.column,
            failure.message,
            difference.unwrap_or_default()
        )
    });
    let all: Vec<String> = all.collect();
    (xml(&first), xml(&all.join("\n")))
}
