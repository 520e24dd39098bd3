//! The JSON Schema of the report, as `sbx schema report` prints it. It is made from
//! the types of the report and kept beside them; a test holds the two together.

/// JSON Schema 2020-12 of [`crate::report::Report`], with a final newline.
pub const REPORT: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::REPORT;
    use crate::report::Report;

    /// Set it to write the schema anew after a change of the types.
    const UPDATE: &str = "SBX_UPDATE_SCHEMA";

    #[test]
    fn the_schema_that_ships_is_that_of_the_types() {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        let made = settings.into_generator().into_root_schema_for::<Report<'static>>();
        let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/schema.json"), &made).unwrap();
        }
        assert!(made == REPORT || std::env::var_os(UPDATE).is_some(), "run this test once with {UPDATE}=1");
    }

    #[test]
    fn every_member_has_a_description() {
        let root: Value = serde_json::from_str(REPORT).unwrap();
        assert_eq!(root["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let types = std::iter::once(&root).chain(root["$defs"].as_object().unwrap().values());
        let mut seen = 0;
        for properties in types.filter_map(|it| it["properties"].as_object()) {
            for (name, property) in properties {
                let reference = property["$ref"].as_str().or(property["anyOf"][0]["$ref"].as_str());
                let target = reference.and_then(|it| root.pointer(it.strip_prefix('#')?));
                let described = [Some(property), target].into_iter().flatten().any(|it| it["description"].is_string());
                assert!(described, "`{name}` has no comment");
                assert!(!name.ends_with("_ns") || property["description"].as_str().unwrap().contains("nanoseconds"));
                seen += 1;
            }
        }
        assert!(seen > 100, "only {seen} members were found");
    }
}
