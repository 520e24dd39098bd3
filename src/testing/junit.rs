//! Results as JUnit XML, in the form that Jenkins, GitLab and cargo-nextest agree on: a suite for each spec, a case for
//! each test, with what it wrote and the report of its run.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::report::cases::Answer;
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
        records.sort_by_key(|(case, _)| case.place);
        let mut suite = TestSuite::new(spec);
        let time: Duration = records.iter().flat_map(|(_, record)| &record.attempts).map(|it| it.duration).sum();
        suite.set_time(time);
        for (case, record) in records {
            suite.add_test_case(test_case(case, record));
        }
        report.add_test_suite(suite);
    }
    report.to_string().map(String::into_bytes)
}

fn chrono_time(time: std::time::SystemTime) -> chrono::DateTime<chrono::FixedOffset> {
    chrono::DateTime::<chrono::Utc>::from(time).fixed_offset()
}

fn test_case(case: &Case, record: &Record) -> TestCase {
    let last = record.attempts.last();
    let mut junit = TestCase::new(case.name.as_str(), status(record));
    junit.set_classname(case.spec.as_str());
    junit.extra.insert("file".into(), case.spec.as_str().into());
    junit.extra.insert("line".into(), case.place.0.to_string().into());
    if let Some(Attempt { answer, started_at, duration }) = last {
        junit.set_time(*duration).set_timestamp(chrono_time(*started_at));
        junit.set_system_out(answer.stdout.as_str()).set_system_err(answer.stderr.as_str());
        if let Some(report) = &answer.report {
            junit.add_property(Property::new("sbx.report", report.trim_end()));
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
        let mut rerun = TestRerun::new(NonSuccessKind::Failure);
        rerun.set_type("failure").set_message(message).set_description(description);
        rerun.set_time(attempt.duration).set_timestamp(chrono_time(attempt.started_at));
        rerun.set_system_out(attempt.answer.stdout.as_str()).set_system_err(attempt.answer.stderr.as_str());
        status.add_rerun(rerun);
    }
    status
}

/// Returns the first thing that is wrong, and all of it.
fn words(answer: &Answer) -> (String, String) {
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
    (first, all.join("\n"))
}
