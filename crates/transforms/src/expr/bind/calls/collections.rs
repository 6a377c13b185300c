//! ARRAY, MAP, ROW, their elements, and elements of JSON documents.

use super::super::super::ast::{Node, Span};
use super::super::{Binder, Bound, Typed, type_error};
use super::Call;
use crate::error::{SqlError, nearest};
use crate::eval::{collection, variant};
use crate::types::Type;

impl Binder<'_> {
    pub(super) fn collection_call(&self, call: &Call, args: Vec<Typed>) -> Bound {
        match call.name {
            "ARRAY" => self.array(call, args),
            "MAP" => self.map(call, args),
            "ROW" => self.row(call, args),
            "ARRAY_CONTAINS" | "ARRAY_POSITION" => self.search(call, args),
            _ => self.measure(call, args),
        }
    }

    fn of_common_type(&self, values: Vec<Typed>, span: &Span) -> Result<(Vec<Typed>, Type), SqlError> {
        let ty = self.common(values.iter(), span)?;
        let values = values.into_iter().map(|v| self.coerce_result(v, &ty)).collect::<Result<_, _>>()?;
        Ok((values, ty))
    }

    fn array(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 1_000)?;
        let (args, ty) = self.of_common_type(args, &call.span)?;
        let out = Type::Array(Box::new(ty));
        Ok(self.call_nullable("ARRAY", collection::array(&out), args, out, false))
    }

    fn map(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 2, 1_000)?;
        if args.len() % 2 == 1 {
            return Err(type_error(call.span.clone(), "MAP takes a value for each key"));
        }
        let (keys, values): (Vec<_>, Vec<_>) = args.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
        let plain = |numbered: Vec<(usize, Typed)>| numbered.into_iter().map(|(_, t)| t).collect();
        let (keys, key_type) = self.of_common_type(plain(keys), &call.span)?;
        let (values, value_type) = self.of_common_type(plain(values), &call.span)?;
        let out = Type::Map(Box::new(key_type), Box::new(value_type));
        Ok(self.call_nullable("MAP", collection::map(&out), [keys, values].concat(), out, false))
    }

    fn row(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 1_000)?;
        let null_as_text = |t: Typed| if t.ty == Type::Null { self.coerce(t, &Type::Text, "a field") } else { Ok(t) };
        let args = args.into_iter().map(null_as_text).collect::<Result<Vec<_>, _>>()?;
        let out = Type::Row(args.iter().enumerate().map(|(i, a)| (format!("f{i}"), a.ty.clone())).collect());
        Ok(self.call_nullable("ROW", collection::row(&out), args, out, false))
    }

    fn search(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 2, 2)?;
        let Type::Array(item) = args[0].ty.clone() else {
            return Err(type_error(
                args[0].span.clone(),
                format!("{} needs an ARRAY, and this is {}", call.name, args[0].ty),
            ));
        };
        let needle = self.argument(call, &args, 1, &item)?;
        let contains = call.name == "ARRAY_CONTAINS";
        let nullable = args[0].nullable || !contains;
        let out = if contains { Type::Boolean } else { Type::Int };
        Ok(self.call_nullable(call.name, collection::search(contains), vec![args[0].clone(), needle], out, nullable))
    }

    fn measure(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 1)?;
        match (&args[0].ty, call.name) {
            (Type::Array(_) | Type::Map(..), "CARDINALITY") => {
                Ok(self.call("CARDINALITY", collection::cardinality(), args, Type::Int))
            }
            (Type::Array(item), "ELEMENT") => {
                let out = (**item).clone();
                Ok(self.call_nullable("ELEMENT", collection::only_element(), args, out, true))
            }
            (ty, name) => Err(type_error(args[0].span.clone(), format!("{name} needs an ARRAY, and this is {ty}"))),
        }
    }

    // ---- elements

    pub(in super::super) fn element(&mut self, operand: &Node, index: &Node, span: Span) -> Bound {
        let bound = self.parts([operand, index])?;
        let [operand, index] = <[Typed; 2]>::try_from(bound).expect("invariant: two parts were bound");
        match operand.ty.clone() {
            Type::Array(item) => {
                let index = self.coerce(index, &Type::BigInt, "an index")?;
                Ok(self.call_nullable("element", collection::element(), vec![operand, index], *item, true))
            }
            Type::Map(key, value) => {
                let index = self.coerce(index, &key, "a key")?;
                Ok(self.call_nullable("element", collection::lookup(), vec![operand, index], *value, true))
            }
            Type::Variant => {
                let by_name = index.ty == Type::Text;
                let index = if by_name { index } else { self.coerce(index, &Type::BigInt, "an index")? };
                Ok(self.call_nullable("element", variant::element(by_name), vec![operand, index], Type::Variant, true))
            }
            Type::Row(fields) => match (index.integer_constant(), index.text_constant()) {
                (Some(at), _) if at >= 1 && (at as usize) <= fields.len() => {
                    Ok(self.field_at(operand, &fields, at as usize - 1))
                }
                (_, Some(name)) => self.field(operand.clone(), name, index.span.clone()),
                (Some(_), _) => {
                    Err(type_error(index.span, format!("this ROW has {} fields, counted from 1", fields.len())))
                }
                _ => Err(type_error(index.span, "the field of a ROW must be a constant")),
            },
            ty => Err(type_error(span, format!("{ty} has no elements"))),
        }
    }

    fn field_at(&self, row: Typed, fields: &[(String, Type)], at: usize) -> Typed {
        self.call_nullable("field", collection::field(at), vec![row], fields[at].1.clone(), true)
    }

    /// `row.name`
    pub(in super::super) fn field(&self, row: Typed, name: &str, span: Span) -> Bound {
        let Type::Row(fields) = row.ty.clone() else {
            return Err(type_error(span, format!("{} has no field `{name}`", row.ty)));
        };
        match fields.iter().position(|(field, _)| field == name) {
            Some(at) => Ok(self.field_at(row, &fields, at)),
            None => {
                let error = type_error(span, format!("this ROW has no field `{name}`"));
                let near = nearest(name, fields.iter().map(|(field, _)| field.as_str()));
                Err(near.map_or(error.clone(), |near| error.help(format!("did you mean `{near}`?"))))
            }
        }
    }

    /// An array whose items get another type.
    pub(in super::super) fn cast_array(&self, value: Typed, to: &Type) -> Typed {
        self.call("cast", collection::cast(to), vec![value], to.clone())
    }
}
