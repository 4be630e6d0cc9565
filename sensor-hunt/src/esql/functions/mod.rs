//! The functions of ES|QL, one row each.

mod convert;
mod date;
mod date_pattern;
mod digest;
mod many;
mod number;
mod text;

use sensor_eql::diag::nearest;

use super::outcome::Type;
use super::value::Val;

pub(super) use convert::{boolean_of, convert, date_of};
pub(super) use date::{refuse_word, shift};
pub(super) use date_pattern::refuse as refuse_pattern;
pub(super) use number::percentile;

/// What an evaluation may know beside its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Env {
    /// The type that was bound for the result.
    pub(super) ty: Type,
    /// The type of the first argument.
    pub(super) of: Type,
}

/// A value, or why there is none: the result is then null, with a warning.
pub(super) type Evaluated<'a> = Result<Val<'a>, &'static str>;

type Eval = for<'a> fn(Env, Vec<Val<'a>>) -> Evaluated<'a>;

/// What an argument must be. Null is welcome everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    Any,
    Text,
    Number,
    Whole,
    Date,
    Period,
    Ip,
    /// The type of the arguments before it.
    Same,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returns {
    Is(Type),
    /// The type that all arguments share.
    Common,
    /// The type of the first argument.
    First,
}

/// How nulls and several values are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// Null gives null, several values give null and a warning.
    Single,
    /// Null gives null, several values of the first argument are converted one by one.
    Each,
    /// The function sees them as they are.
    All,
}

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) args: &'static [Arg],
    /// How many of the last arguments may be missing.
    pub(super) optional: usize,
    /// Whether the last may be repeated.
    pub(super) repeats: bool,
    pub(super) returns: Returns,
    pub(super) meets: Meets,
    pub(super) eval: Eval,
}

const fn function(
    name: &'static str,
    args: &'static [Arg],
    returns: Returns,
    meets: Meets,
    eval: Eval,
) -> Function {
    Function { name, args, optional: 0, repeats: false, returns, meets, eval }
}

const fn optional(mut function: Function, count: usize) -> Function {
    function.optional = count;
    function
}

const fn repeats(mut function: Function) -> Function {
    function.repeats = true;
    function
}

const KEYWORD: Returns = Returns::Is(Type::Keyword);
const INTEGER: Returns = Returns::Is(Type::Integer);
const LONG: Returns = Returns::Is(Type::Long);
const DOUBLE: Returns = Returns::Is(Type::Double);
const BOOLEAN: Returns = Returns::Is(Type::Boolean);
const DATE: Returns = Returns::Is(Type::Date);
const IP: Returns = Returns::Is(Type::Ip);

use Arg::{Any, Number, Period, Same, Text, Whole};
use Meets::{All, Each, Single};
use Returns::{Common, First};

static TABLE: [Function; 102] = [
    function("abs", &[Number], First, Single, number::abs),
    function("bit_length", &[Text], INTEGER, Single, text::bit_length),
    function("byte_length", &[Text], INTEGER, Single, text::byte_length),
    function("ceil", &[Number], First, Single, number::ceil),
    repeats(function("coalesce", &[Any, Same], Common, All, many::coalesce)),
    repeats(function("concat", &[Text, Text], KEYWORD, Single, text::concat)),
    function("contains", &[Text, Text], BOOLEAN, Single, text::contains),
    function("date_diff", &[Text, Arg::Date, Arg::Date], INTEGER, Single, date::date_diff),
    function("date_extract", &[Text, Arg::Date], LONG, Single, date::date_extract),
    function("date_trunc", &[Period, Arg::Date], DATE, Single, date::date_trunc),
    function("ends_with", &[Text, Text], BOOLEAN, Single, text::ends_with),
    function("floor", &[Number], First, Single, number::floor),
    repeats(function("greatest", &[Any, Same], Common, Single, many::greatest)),
    repeats(function("least", &[Any, Same], Common, Single, many::least)),
    function("left", &[Text, Whole], KEYWORD, Single, text::left),
    function("length", &[Text], INTEGER, Single, text::length),
    optional(function("locate", &[Text, Text, Whole], INTEGER, Single, text::locate), 1),
    function("log10", &[Number], DOUBLE, Single, number::log10),
    function("ltrim", &[Text], KEYWORD, Single, text::ltrim),
    function("mv_append", &[Any, Same], Common, All, many::mv_append),
    function("mv_avg", &[Number], DOUBLE, All, many::mv_avg),
    function("mv_concat", &[Text, Text], KEYWORD, All, many::mv_concat),
    function("mv_contains", &[Any, Same], BOOLEAN, All, many::mv_contains),
    function("mv_count", &[Any], INTEGER, All, many::mv_count),
    function("mv_dedupe", &[Any], First, All, many::mv_dedupe),
    function("mv_first", &[Any], First, All, many::mv_first),
    function("mv_intersection", &[Any, Same], Common, All, many::mv_intersection),
    function("mv_last", &[Any], First, All, many::mv_last),
    function("mv_max", &[Any], First, All, many::mv_max),
    function("mv_min", &[Any], First, All, many::mv_min),
    optional(function("mv_slice", &[Any, Whole, Whole], First, All, many::mv_slice), 1),
    optional(function("mv_sort", &[Any, Text], First, All, many::mv_sort), 1),
    function("mv_sum", &[Number], First, All, many::mv_sum),
    function("mv_union", &[Any, Same], Common, All, many::mv_union),
    function("pow", &[Number, Number], DOUBLE, Single, number::pow),
    function("repeat", &[Text, Whole], KEYWORD, Single, text::repeat),
    function("reverse", &[Text], KEYWORD, Single, text::reverse),
    function("right", &[Text, Whole], KEYWORD, Single, text::right),
    optional(function("round", &[Number, Whole], First, Single, number::round), 1),
    function("rtrim", &[Text], KEYWORD, Single, text::rtrim),
    function("space", &[Whole], KEYWORD, Single, text::space),
    function("split", &[Text, Text], KEYWORD, Single, text::split),
    function("sqrt", &[Number], DOUBLE, Single, number::sqrt),
    function("starts_with", &[Text, Text], BOOLEAN, Single, text::starts_with),
    optional(function("substring", &[Text, Whole, Whole], KEYWORD, Single, text::substring), 1),
    function("to_bool", &[Any], BOOLEAN, Each, convert::to),
    function("to_boolean", &[Any], BOOLEAN, Each, convert::to),
    function("to_date", &[Any], DATE, Each, convert::to),
    function("to_datetime", &[Any], DATE, Each, convert::to),
    function("to_dbl", &[Any], DOUBLE, Each, convert::to),
    function("to_double", &[Any], DOUBLE, Each, convert::to),
    function("to_dt", &[Any], DATE, Each, convert::to),
    function("to_int", &[Any], INTEGER, Each, convert::to),
    function("to_integer", &[Any], INTEGER, Each, convert::to),
    function("to_ip", &[Any], IP, Each, convert::to),
    function("to_long", &[Any], LONG, Each, convert::to),
    function("to_lower", &[Text], KEYWORD, Each, text::to_lower),
    function("to_str", &[Any], KEYWORD, Each, convert::to),
    function("to_string", &[Any], KEYWORD, Each, convert::to),
    function("to_upper", &[Text], KEYWORD, Each, text::to_upper),
    function("trim", &[Text], KEYWORD, Single, text::trim),
    function("url_decode", &[Text], KEYWORD, Single, text::url_decode),
    function("url_encode", &[Text], KEYWORD, Single, text::url_encode),
    function("url_encode_component", &[Text], KEYWORD, Single, text::url_encode_component),
    function("acos", &[Number], DOUBLE, Single, number::acos),
    function("asin", &[Number], DOUBLE, Single, number::asin),
    function("atan", &[Number], DOUBLE, Single, number::atan),
    function("atan2", &[Number, Number], DOUBLE, Single, number::atan2),
    function("cbrt", &[Number], DOUBLE, Single, number::cbrt),
    function("cos", &[Number], DOUBLE, Single, number::cos),
    function("cosh", &[Number], DOUBLE, Single, number::cosh),
    function("date_format", &[Text, Arg::Date], KEYWORD, Single, date_pattern::date_format),
    function("date_parse", &[Text, Text], DATE, Single, date_pattern::date_parse),
    function("day_name", &[Arg::Date], KEYWORD, Single, date_pattern::day_name),
    function("e", &[], DOUBLE, Single, number::e),
    function("exp", &[Number], DOUBLE, Single, number::exp),
    function("from_base64", &[Text], KEYWORD, Single, digest::from_base64),
    function("hash", &[Text, Text], KEYWORD, Single, digest::hash),
    function("hypot", &[Number, Number], DOUBLE, Single, number::hypot),
    function("ip_prefix", &[Arg::Ip, Whole, Whole], IP, Single, convert::ip_prefix),
    optional(function("log", &[Number, Number], DOUBLE, Single, number::log), 1),
    function("md5", &[Text], KEYWORD, Single, digest::md5),
    function("month_name", &[Arg::Date], KEYWORD, Single, date_pattern::month_name),
    function("mv_median", &[Number], First, All, many::mv_median),
    function("mv_percentile", &[Number, Number], First, All, many::mv_percentile),
    function("pi", &[], DOUBLE, Single, number::pi),
    function("sha1", &[Text], KEYWORD, Single, digest::sha1),
    function("sha256", &[Text], KEYWORD, Single, digest::sha256),
    function("sin", &[Number], DOUBLE, Single, number::sin),
    function("sinh", &[Number], DOUBLE, Single, number::sinh),
    function("tan", &[Number], DOUBLE, Single, number::tan),
    function("tanh", &[Number], DOUBLE, Single, number::tanh),
    function("tau", &[], DOUBLE, Single, number::tau),
    function("to_base64", &[Text], KEYWORD, Single, digest::to_base64),
    function("to_degrees", &[Number], DOUBLE, Single, number::to_degrees),
    function("to_radians", &[Number], DOUBLE, Single, number::to_radians),
    // `bucket`, which the binder rewrites; they stand here for its four forms.
    function("bucket_date", &[Arg::Date, Period], DATE, Single, date::bucket),
    function(
        "bucket_date_range",
        &[Arg::Date, Whole, Arg::Date, Arg::Date],
        DATE,
        Single,
        date_pattern::bucket_range,
    ),
    function("bucket_number_range", &[Number, Whole, Number, Number], DOUBLE, Single, number::bucket_range),
    function("bucket_number", &[Number, Number], DOUBLE, Single, number::bucket),
    optional(function("mv_zip", &[Text, Text, Text], KEYWORD, All, many::mv_zip), 1),
    function("signum", &[Number], DOUBLE, Single, number::signum),
];

/// Functions that the binder knows by itself.
pub(super) const SPECIAL: [&str; 27] = [
    "now",
    "case",
    "cidr_match",
    "replace",
    "bucket",
    "match",
    "match_phrase",
    "kql",
    "count",
    "count_distinct",
    "values",
    "min",
    "max",
    "sum",
    "avg",
    "median",
    "percentile",
    "median_absolute_deviation",
    "std_dev",
    "stddev",
    "variance",
    "top",
    "present",
    "absent",
    "first",
    "last",
    "term",
];

/// Functions of ES|QL that are not run here.
const UNSUPPORTED: [&str; 40] = [
    "qstr",
    "multi_match",
    "knn",
    "score",
    "decay",
    "sample",
    "rate",
    "delta",
    "increase",
    "irate",
    "weighted_avg",
    "st_distance",
    "st_centroid_agg",
    "st_contains",
    "st_disjoint",
    "st_extent_agg",
    "st_intersects",
    "st_within",
    "st_x",
    "st_y",
    "to_geopoint",
    "to_geoshape",
    "to_cartesianpoint",
    "to_cartesianshape",
    "to_version",
    "to_ver",
    "to_unsigned_long",
    "to_ul",
    "to_ulong",
    "to_date_nanos",
    "to_datenanos",
    "to_dateperiod",
    "to_timeduration",
    "to_aggregate_metric_double",
    "categorize",
    "mv_median_absolute_deviation",
    "mv_pseries_weighted_sum",
    "copy_sign",
    "scalb",
    "text_embedding",
];

/// Finds a function; an error says what is near or that it is not supported.
pub(super) fn find(name: &str) -> Result<&'static Function, (String, Option<String>)> {
    if let Some(function) = TABLE.iter().find(|function| function.name == name && !hidden(name)) {
        return Ok(function);
    }
    if UNSUPPORTED.contains(&name) {
        return Err((format!("the function `{name}` is not supported"), None));
    }
    let known = TABLE.iter().map(|function| function.name).filter(|name| !hidden(name)).chain(SPECIAL);
    let help = nearest(name, known).map(|close| format!("did you mean `{close}`?"));
    Err((format!("there is no function `{name}`"), help))
}

/// Finds one that only the binder may name.
pub(super) fn internal(name: &str) -> Option<&'static Function> {
    TABLE.iter().find(|function| function.name == name)
}

fn hidden(name: &str) -> bool {
    name.starts_with("bucket_")
}

/// The next argument.
fn next<'a>(args: &mut std::vec::IntoIter<Val<'a>>) -> Val<'a> {
    args.next().unwrap_or(Val::Null)
}
