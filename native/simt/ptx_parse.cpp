// Reads the text of PTX (NVIDIA's "Parallel Thread Execution ISA", sections 4 and 5) into a program that can be run.
#include "ptx.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <sstream>
#include <unordered_map>

namespace simt::ptx {

namespace {

struct Token {
    std::string text;
    uint32_t line;
};

struct Error {
    std::string message;
};

[[noreturn]] void refuse(uint32_t line, const std::string& message) {
    throw Error{"line " + std::to_string(line) + " of the PTX: " + message};
}

std::vector<Token> tokens_of(const std::string& text) {
    std::vector<Token> tokens;
    uint32_t line = 1;
    auto is_word = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '.' || c == '%'; };
    for (size_t i = 0; i < text.size();) {
        char c = text[i];
        if (c == '\n') {
            line++;
            i++;
        } else if (isspace(static_cast<unsigned char>(c)) || c == 0) {
            i++;
        } else if (text.compare(i, 2, "//") == 0) {
            i = std::min(text.find('\n', i), text.size());
        } else if (text.compare(i, 2, "/*") == 0) {
            size_t end = std::min(text.find("*/", i), text.size() - 2) + 2;
            line += uint32_t(std::count(text.begin() + i, text.begin() + end, '\n'));
            i = end;
        } else if (c == '"') {
            size_t end = text.find('"', i + 1);
            if (end == std::string::npos) {
                refuse(line, "a string does not end");
            }
            tokens.push_back({text.substr(i, end + 1 - i), line});
            i = end + 1;
        } else if (is_word(c)) {
            size_t end = i;
            while (end < text.size() && is_word(text[end])) {
                end++;
            }
            tokens.push_back({text.substr(i, end - i), line});
            i = end;
        } else {
            tokens.push_back({std::string(1, c), line});
            i++;
        }
    }
    return tokens;
}

unsigned align_up(unsigned offset, unsigned alignment) { return (offset + alignment - 1) / alignment * alignment; }

struct Register {
    Place place;
    Type type;
};

struct Variable {
    enum Where { MODULE_SHARED, OWN_SHARED_VARIABLE, DYNAMIC, LOCAL, PARAMETER } where;
    unsigned offset, bytes, index;
};

using Scope = std::unordered_map<std::string, Register>;

// An operand as it is written: a register, a number, or a name; in brackets with what is added to it.
struct Operand {
    std::string text;
    bool negative, address;
    int64_t added;
    uint32_t line;
};

class Parser {
public:
    explicit Parser(const std::string& text) : program(std::make_shared<Program>()), tokens(tokens_of(text)) {
        program->text = text;
        tokens.resize(tokens.size() + 2, {"", tokens.empty() ? 1 : tokens.back().line});  // one may be looked at beyond the next
    }

    std::shared_ptr<const Program> run() {
        find_module_variables();
        while (!peek().empty()) {
            module_statement();
        }
        for (const auto& [call, name] : called) {
            auto found = function_numbers.find(name.text);
            if (found == function_numbers.end()) {
                refuse(name.line, "there is no function " + name.text);
            }
            program->calls[call.first].function = found->second;
            program->functions[call.second].calls.insert(found->second);
            const Function& callee = program->functions[found->second];
            auto same = [](const std::vector<Parameter>& a, const std::vector<Parameter>& b) {
                return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto x, auto y) { return x.bytes == y.bytes; });
            };
            if (!same(program->calls[call.first].arguments, callee.parameters) || !same(program->calls[call.first].results, callee.results)) {
                refuse(name.line, name.text + " is called with other parameters than it has");
            }
        }
        return program;
    }

private:
    std::shared_ptr<Program> program;
    std::vector<Token> tokens;
    size_t at = 0;
    double version = 0;
    std::map<std::pair<uint64_t, Type>, Place> constants;
    std::map<std::string, Variable> module_variables;
    std::map<std::string, unsigned> function_numbers;
    std::vector<std::pair<std::pair<unsigned, unsigned>, Token>> called;  // number of the call, and of the function that makes it

    // of the function that is read
    Function* function = nullptr;
    unsigned function_number = 0, own_shared = 0;
    std::map<std::string, Variable> variables;
    std::vector<Scope> scopes;
    std::map<std::string, uint32_t> labels;
    std::vector<std::pair<uint32_t, Token>> branches;

    const std::string& peek() const { return tokens[at].text; }
    uint32_t line() const { return tokens[at].line; }
    std::string take() {
        if (tokens[at].text.empty()) {
            refuse(line(), "the text ends too early");
        }
        return tokens[at++].text;
    }
    bool take_if(const char* text) {
        if (peek() != text) {
            return false;
        }
        at++;
        return true;
    }
    void expect(const char* text) {
        if (!take_if(text)) {
            refuse(line(), std::string("\"") + text + "\" is expected, not \"" + peek() + "\"");
        }
    }
    unsigned take_number() {
        std::string text = take();
        char* end;
        unsigned long number = std::strtoul(text.c_str(), &end, 0);
        if (*end != 0) {
            refuse(line(), "\"" + text + "\" is no number");
        }
        return unsigned(number);
    }

    static unsigned bits_of(const std::string& type) { return unsigned(std::atoi(type.c_str() + 2)); }

    // ".align 8 .b8 name[24]", behind the state space.
    struct Declaration {
        std::string name;
        unsigned bytes, alignment;
        bool open;  // an array without a size
    };
    Declaration declaration() {
        Declaration made{"", 0, 1, false};
        std::string word = take();
        if (word == ".align") {
            made.alignment = take_number();
            word = take();
        }
        if (word.size() < 3 || word[0] != '.' || !isdigit(static_cast<unsigned char>(word[2]))) {
            refuse(line(), "the type " + word + " of a variable is not known here");
        }
        unsigned element = bits_of(word) / 8;
        made.alignment = std::max(made.alignment, element);
        made.name = take();
        made.bytes = element;
        if (take_if("[")) {
            made.open = peek() == "]";
            made.bytes = made.open ? 0 : element * take_number();
            expect("]");
        }
        return made;
    }

    // Shared variables of the module, which its functions may name before and after.
    void find_module_variables() {
        int depth = 0;
        unsigned end = 0;
        for (at = 0; !peek().empty(); at++) {
            depth += peek() == "{" ? 1 : peek() == "}" ? -1 : 0;
            if (depth != 0 || peek() != ".shared") {
                continue;
            }
            at++;
            Declaration made = declaration();
            if (made.open) {
                module_variables[made.name] = {Variable::DYNAMIC, 0, 0, 0};
                continue;
            }
            module_variables[made.name] = add_module_shared(made, end);
        }
        at = 0;
    }

    Variable add_module_shared(const Declaration& made, unsigned& end) {
        unsigned offset = align_up(end, std::max(16u, made.alignment));
        end = offset + align_up(made.bytes, 16) + 16;
        if (end > OWN_SHARED) {
            refuse(line(), "the shared variables of the module take more than " + std::to_string(OWN_SHARED) + " bytes");
        }
        program->shared.push_back({made.name, offset, made.bytes});
        return {Variable::MODULE_SHARED, offset, made.bytes, unsigned(program->shared.size() - 1)};
    }

    void module_statement() {
        std::string word = take();
        if (word == ".version") {
            version = std::strtod(take().c_str(), nullptr);
        } else if (word == ".target" || word == ".address_size") {
            take();
            while (take_if(",")) {
                take();
            }
        } else if (word == ".visible" || word == ".weak" || word == ".extern") {
            // what a linker would want to know
        } else if (word == ".shared") {
            declaration();
            expect(";");
        } else if (word == ".pragma") {
            pragma();
        } else if (word == ".entry" || word == ".func") {
            read_function(word == ".entry");
        } else {
            refuse(line(), "\"" + word + "\" is not known here");
        }
    }

    void pragma() {
        // And from which version of PTX on they are known. A driver passes over others until one comes that knows and refuses them.
        static const std::map<std::string, double> KNOWN = {{"nounroll", 2.0}, {"used_bytes_mask", 8.3}};
        std::string text = take(), name = text.substr(1, text.find_first_of(" \"", 1) - 1);
        auto known = KNOWN.find(name);
        if (known == KNOWN.end()) {
            refuse(line(), "the pragma " + name + " is not known here");
        }
        if (version < known->second) {
            refuse(line(), "the pragma " + name + " is newer than the .version of the PTX");
        }
        expect(";");
    }

    std::vector<Parameter> parameter_list(bool entry, unsigned& end) {
        std::vector<Parameter> parameters;
        expect("(");
        while (!take_if(")")) {
            expect(".param");
            Declaration made = declaration();
            unsigned offset = align_up(end, 16);
            end = offset + made.bytes;
            parameters.push_back({offset, made.bytes});
            variables[made.name] = {Variable::PARAMETER, offset, made.bytes, entry};
            take_if(",");
        }
        return parameters;
    }

    void read_function(bool entry) {
        Function read;
        read.entry = entry;
        read.first = uint32_t(program->code.size());
        variables = module_variables;
        unsigned entry_bytes = 0;
        unsigned& end = entry ? entry_bytes : program->parameter_bytes;
        if (!entry && peek() == "(") {
            read.results = parameter_list(false, end);
        }
        read.name = take();
        if (peek() == "(") {
            read.parameters = parameter_list(entry, end);
        }
        while (peek() != "{" && peek() != ";") {
            std::string word = take();
            if (word == ".maxntid") {
                read.most_threads = take_number();
                while (take_if(",")) {
                    read.most_threads *= take_number();
                }
            } else if (word == ".minnctapersm") {
                take_number();
            } else if (word != ".noreturn") {
                refuse(line(), "\"" + word + "\" is not known here");
            }
        }
        if (take_if(";")) {
            return;  // it follows
        }
        function_number = unsigned(program->functions.size());
        if (!function_numbers.insert({read.name, function_number}).second) {
            refuse(line(), read.name + " is there twice");
        }
        program->functions.push_back(read);
        function = &program->functions.back();
        own_shared = OWN_SHARED;
        labels.clear();
        branches.clear();
        expect("{");
        scopes = {special_registers()};
        scopes.emplace_back();
        while (scopes.size() > 1) {
            body_statement();
        }
        for (const auto& [instruction, label] : branches) {
            auto found = labels.find(label.text);
            if (found == labels.end()) {
                refuse(label.line, "there is no label " + label.text);
            }
            program->code[instruction].target = found->second;
        }
        const Instruction* last = program->code.size() == function->first ? nullptr : &program->code.back();
        if (last == nullptr || last->guard != NONE || (last->kind != Kind::RETURN && last->kind != Kind::BRANCH)) {
            refuse(line(), function->name + " has no end");
        }
    }

    static Scope special_registers() {
        return {{"%tid.x", {TID_X, Type::WORD}}, {"%tid.y", {TID_Y, Type::WORD}}, {"%tid.z", {TID_Z, Type::WORD}},
                {"%ntid.x", {NTID_X, Type::WORD}}, {"%ntid.y", {NTID_Y, Type::WORD}}, {"%ntid.z", {NTID_Z, Type::WORD}},
                {"%ctaid.x", {CTAID_X, Type::WORD}}, {"%ctaid.y", {CTAID_Y, Type::WORD}}, {"%ctaid.z", {CTAID_Z, Type::WORD}},
                {"%nctaid.x", {NCTAID_X, Type::WORD}}, {"%nctaid.y", {NCTAID_Y, Type::WORD}}, {"%nctaid.z", {NCTAID_Z, Type::WORD}},
                {"%laneid", {LANEID, Type::WORD}}};
    }

    void body_statement() {
        if (take_if("{")) {
            scopes.emplace_back();
        } else if (take_if("}")) {
            scopes.pop_back();
        } else if (take_if(".reg")) {
            registers();
        } else if (take_if(".shared")) {
            own_variable(declaration());
        } else if (take_if(".local")) {
            Declaration made = declaration();
            unsigned offset = align_up(program->local_bytes, std::max(16u, made.alignment));
            program->local_bytes = offset + made.bytes;
            variables[made.name] = {Variable::LOCAL, offset, made.bytes, 0};
            expect(";");
        } else if (take_if(".param")) {
            Declaration made = declaration();
            unsigned offset = align_up(program->parameter_bytes, 16);
            program->parameter_bytes = offset + made.bytes;
            variables[made.name] = {Variable::PARAMETER, offset, made.bytes, false};
            expect(";");
        } else if (take_if(".pragma")) {
            pragma();
        } else if (tokens[at + 1].text == ":") {
            labels[take()] = uint32_t(program->code.size());
            expect(":");
        } else if (!take_if(";")) {
            instruction();
        }
    }

    void own_variable(const Declaration& made) {
        if (!function->entry) {
            refuse(line(), "a shared variable inside of a function that is no kernel is not known here");
        }
        unsigned offset = align_up(own_shared, std::max(16u, made.alignment));
        own_shared = offset + align_up(made.bytes, 16) + 16;
        function->shared.push_back({made.name, offset, made.bytes});
        variables[made.name] = {Variable::OWN_SHARED_VARIABLE, offset, made.bytes, 0};
        expect(";");
    }

    void registers() {
        std::string type = take();
        Type of = type == ".pred" ? Type::PREDICATE : bits_of(type) == 64 ? Type::DOUBLE_WORD : Type::WORD;
        do {
            std::string name = take();
            unsigned count = 1;
            bool numbered = take_if("<");
            if (numbered) {
                count = take_number();
                expect(">");
            }
            for (unsigned i = 0; i < count; i++) {
                scopes.back()[numbered ? name + std::to_string(i) : name] = {program->rows, of};
                program->rows += of == Type::DOUBLE_WORD ? 2 : 1;
            }
        } while (take_if(","));
        expect(";");
    }

    const Register* find_register(const std::string& name) const {
        for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
            auto found = scope->find(name);
            if (found != scope->end()) {
                return &found->second;
            }
        }
        return nullptr;
    }

    Place constant(uint64_t value, Type type) {
        if (type != Type::DOUBLE_WORD) {
            value = uint32_t(value);
        }
        auto [found, added] = constants.insert({{value, type}, Place(program->constants.size() * 8 / ROW) | CONSTANT});
        if (added && type == Type::DOUBLE_WORD) {
            program->constants.insert(program->constants.end(), 32, value);
        } else if (added) {
            program->constants.insert(program->constants.end(), 16, value << 32 | value);
        }
        return found->second;
    }

    static bool is_number(const Operand& operand) { return isdigit(static_cast<unsigned char>(operand.text[0])); }

    uint64_t number(const Operand& operand) {
        const std::string& text = operand.text;
        char* end;
        bool floating = text.size() > 2 && text[0] == '0' && strchr("fFdD", text[1]) != nullptr;
        uint64_t value = std::strtoull(text.c_str() + (floating ? 2 : 0), &end, floating ? 16 : 0);
        if (*end != 0 && std::string(end) != "U") {
            refuse(operand.line, "\"" + text + "\" is no number");
        }
        return operand.negative ? 0 - value : value;
    }

    // The place of an operand that has this type, which is a register or a constant.
    Place place(const Operand& operand, Type type) {
        if (operand.text == "_") {
            return NONE;
        }
        if (is_number(operand)) {
            uint64_t value = number(operand);
            return constant(type == Type::PREDICATE ? (value != 0 ? ALL : 0) : value, type);
        }
        if (const Register* found = find_register(operand.text)) {
            if (found->type != type) {
                refuse(operand.line, operand.text + " has another width than this instruction works on here");
            }
            return found->place;
        }
        if (type == Type::PREDICATE) {
            refuse(operand.line, "\"" + operand.text + "\" is not known here");
        }
        return symbol(operand, type);
    }

    // The address of a variable in its own state space.
    Place symbol(const Operand& operand, Type type) {
        auto found = variables.find(operand.text);
        if (found == variables.end()) {
            refuse(operand.line, "\"" + operand.text + "\" is not known here");
        }
        const Variable& variable = found->second;
        switch (variable.where) {
            case Variable::MODULE_SHARED:
                function->used_shared.insert(variable.index);
                return constant(variable.offset, type);
            case Variable::DYNAMIC:
                function->uses_dynamic_shared = true;
                return type == Type::WORD ? DYNAMIC_SHARED : DYNAMIC_SHARED_WIDE;
            case Variable::PARAMETER: refuse(operand.line, "the address of a parameter is not known here");
            default: return constant(variable.offset, type);
        }
    }

    Operand operand() {
        Operand read{"", false, take_if("["), 0, line()};
        read.negative = take_if("-");
        read.text = take();
        if (read.address) {
            while (peek() == "+" || peek() == "-") {
                bool minus = take() == "-";
                minus ^= take_if("-");
                int64_t n = int64_t(std::strtoll(take().c_str(), nullptr, 0));
                read.added += minus ? -n : n;
            }
            expect("]");
        }
        return read;
    }

    // Operands up to the semicolon; a list in braces, and "a|b", are operands side by side. `braces`: where lists begin, and how many they have.
    std::vector<Operand> operands(std::vector<std::pair<size_t, size_t>>& braces) {
        std::vector<Operand> read;
        while (!take_if(";")) {
            if (take_if("{")) {
                size_t first = read.size();
                do {
                    read.push_back(operand());
                } while (take_if(","));
                expect("}");
                braces.push_back({first, read.size() - first});
            } else {
                read.push_back(operand());
            }
            if (!take_if(",")) {
                take_if("|");
            }
        }
        return read;
    }

    void instruction() {
        Instruction made{};
        made.guard = NONE;
        made.line = line();
        if (take_if("@")) {
            made.unless = take_if("!");
            Operand guard{take(), false, false, 0, line()};
            made.guard = place(guard, Type::PREDICATE);
        }
        std::string opcode = take();
        if (opcode == "call" || opcode == "call.uni") {
            call(made);
            return;
        }
        std::vector<std::pair<size_t, size_t>> braces;
        std::vector<Operand> read = operands(braces);
        if (opcode.compare(0, 3, "ld.") == 0 || opcode.compare(0, 3, "st.") == 0) {
            memory(made, opcode, read);
        } else if (opcode.compare(0, 4, "mov.") == 0 && !braces.empty()) {
            pack(made, opcode, read, braces[0]);
        } else {
            by_form(made, opcode, read);
        }
        if (made.kind == Kind::BARRIER || opcode == "bar.warp.sync" || opcode == "cp.async.wait_all") {
            program->syncs.push_back(uint32_t(program->code.size()));
        }
        program->code.push_back(made);
    }

    void by_form(Instruction& made, const std::string& opcode, std::vector<Operand>& read) {
        const Form* form = find_form(opcode);
        if (form == nullptr) {
            refuse(made.line, "the instruction " + opcode + " is not known here");
        }
        made.action = form->action;
        made.kind = form->kind;
        if (form->kind == Kind::BRANCH) {
            if (read.size() != 1) {
                refuse(made.line, opcode + " has one target");
            }
            branches.push_back({uint32_t(program->code.size()), {read[0].text, made.line}});
            return;
        }
        if (opcode == "cp.async.cg.shared.global") {
            if (read.size() != 4 || !is_number(read[2]) || number(read[2]) != 16) {
                refuse(made.line, opcode + " is known here with 16 bytes and a size of the source only");
            }
            read.erase(read.begin() + 2);
            made.target = uint32_t(int32_t(read[1].added));
        }
        if (opcode.compare(0, 5, "shfl.") == 0 && read.size() == 5) {
            read.insert(read.begin() + 1, Operand{"_", false, false, 0, made.line});
        }
        if (opcode == "bar.sync" && (read.size() != 1 || !is_number(read[0]) || number(read[0]) != 0)) {
            refuse(made.line, "bar.sync is known here for the whole block only");
        }
        if (opcode.compare(0, 4, "cvt.") == 0 && read.size() == 2 && form->reads[0] == Type::WORD) {
            narrow(made, read[1]);
        }
        made.writes = uint8_t(form->writes.size());
        made.reads = uint8_t(form->reads.size());
        if (read.size() != size_t(made.writes) + made.reads) {
            refuse(made.line, opcode + " has " + std::to_string(made.writes + made.reads) + " operands here, not " + std::to_string(read.size()));
        }
        for (size_t i = 0; i < read.size(); i++) {
            made.operands[i] = place(read[i], i < made.writes ? form->writes[i] : form->reads[i - made.writes]);
            if (i < made.writes && made.operands[i] != NONE && made.operands[i] & CONSTANT) {
                refuse(made.line, opcode + " cannot write to " + read[i].text);
            }
            if (read[i].address && made.number == 0) {
                made.number = read[i].added;
            }
        }
        if (opcode == "cp.async.cg.shared.global") {
            made.number = read[0].added;
        }
    }

    // A conversion takes the lower half of a register that is wider than its type: by an instruction of its own before it.
    void narrow(const Instruction& of, Operand& source) {
        const Register* wide = find_register(source.text);
        if (wide == nullptr || wide->type != Type::DOUBLE_WORD) {
            return;
        }
        const Form* form = find_form("cvt.u32.u64");
        Instruction half = of;
        half.action = form->action;
        half.writes = half.reads = 1;
        half.operands[0] = program->rows++;
        half.operands[1] = wide->place;
        source.text = "%half" + std::to_string(half.operands[0]);
        scopes.back()[source.text] = {half.operands[0], Type::WORD};
        program->code.push_back(half);
    }

    void memory(Instruction& made, const std::string& opcode, const std::vector<Operand>& read) {
        bool store = opcode[0] == 's';
        std::vector<std::string> parts;
        std::stringstream in(opcode);
        for (std::string part; std::getline(in, part, '.');) {
            parts.push_back(part);
        }
        size_t next = 1;
        Space space = Space::GENERIC;
        static const std::map<std::string, Space> SPACES = {
            {"global", Space::GLOBAL}, {"shared", Space::SHARED}, {"local", Space::LOCAL}, {"param", Space::PARAM}};
        auto named = SPACES.find(parts[next]);
        if (named != SPACES.end()) {
            space = named->second;
            next++;
        }
        unsigned count = 1;
        if (next < parts.size() && (parts[next] == "v2" || parts[next] == "v4")) {
            count = parts[next][1] - '0';
            next++;
        }
        if (next + 1 != parts.size() || read.size() != count + 1) {
            refuse(made.line, "the instruction " + opcode + " is not known here");
        }
        const Operand& address = store ? read.front() : read.back();
        const Register* value = find_register(read[store ? 1 : 0].text);
        bool wide = value != nullptr ? value->type == Type::DOUBLE_WORD : bits_of("." + parts[next]) == 64;
        Type type = wide ? Type::DOUBLE_WORD : Type::WORD;
        made.number = address.added;
        made.count = uint8_t(count);
        made.wide_address = true;
        Place base = NONE;
        if (space == Space::PARAM) {
            auto found = variables.find(address.text);
            if (found == variables.end() || found->second.where != Variable::PARAMETER) {
                refuse(made.line, "there is no parameter " + address.text);
            }
            made.number += found->second.offset;
            space = found->second.index != 0 ? Space::ENTRY_PARAM : Space::PARAM;
        } else {
            const Register* pointer = find_register(address.text);
            made.wide_address = pointer == nullptr || pointer->type == Type::DOUBLE_WORD;
            base = place(address, made.wide_address ? Type::DOUBLE_WORD : Type::WORD);
        }
        made.space = space;
        made.kind = Kind::PLAIN;
        made.action = find_memory_action(store, space, parts[next], wide);
        bool of_parameter = space == Space::PARAM || space == Space::ENTRY_PARAM;
        bool fits = of_parameter ? count == 1 : (made.wide_address || space == Space::SHARED || space == Space::LOCAL)
                && count * bits_of("." + parts[next]) <= 128;
        if (made.action == nullptr || !fits) {
            refuse(made.line, "the instruction " + opcode + " is not known here with these operands");
        }
        unsigned n = 0;
        if (store && base != NONE) {
            made.operands[n++] = base;
        }
        for (unsigned i = 0; i < count; i++) {
            made.operands[n++] = place(read[store ? i + 1 : i], type);
        }
        if (!store && base != NONE) {
            made.operands[n++] = base;
        }
        made.writes = uint8_t(store ? 0 : count);
        made.reads = uint8_t(n - made.writes);
    }

    void pack(Instruction& made, const std::string& opcode, const std::vector<Operand>& read, std::pair<size_t, size_t> list) {
        unsigned whole_bits = bits_of(opcode.substr(3)), parts = unsigned(list.second);
        bool unpack = list.first == 0;
        made.kind = Kind::PLAIN;
        made.action = find_pack_action(parts, unpack, whole_bits / parts);
        if (made.action == nullptr || read.size() != parts + 1) {
            refuse(made.line, "the instruction " + opcode + " is not known here with these operands");
        }
        Type whole = whole_bits == 64 ? Type::DOUBLE_WORD : Type::WORD;
        for (unsigned i = 0; i <= parts; i++) {
            made.operands[i] = place(read[i], i == (unpack ? parts : 0) ? whole : Type::WORD);
        }
        made.writes = uint8_t(unpack ? parts : 1);
        made.reads = uint8_t(unpack ? 1 : parts);
    }

    std::vector<Parameter> arguments() {
        std::vector<Parameter> named;
        expect("(");
        while (!take_if(")")) {
            std::string name = take();
            auto found = variables.find(name);
            if (found == variables.end() || found->second.where != Variable::PARAMETER) {
                refuse(line(), "there is no parameter " + name);
            }
            named.push_back({found->second.offset, found->second.bytes});
            take_if(",");
        }
        return named;
    }

    void call(Instruction& made) {
        Call read{};
        if (peek() == "(") {
            read.results = arguments();
            expect(",");
        }
        Token name = tokens[at];
        take();
        if (name.text[0] == '%') {
            refuse(made.line, "a call through a register is not known here");
        }
        if (take_if(",")) {
            read.arguments = arguments();
        }
        expect(";");
        const Form* form = find_form("call");
        made.action = form->action;
        made.kind = form->kind;
        made.target = uint32_t(program->calls.size());
        called.push_back({{made.target, function_number}, name});
        program->calls.push_back(read);
        program->code.push_back(made);
    }
};

// What a function and all that it calls use.
void gather(const Program& program, unsigned number, std::set<unsigned>& seen, std::set<unsigned>& shared, bool& dynamic) {
    if (!seen.insert(number).second) {
        return;
    }
    const Function& function = program.functions[number];
    shared.insert(function.used_shared.begin(), function.used_shared.end());
    dynamic |= function.uses_dynamic_shared;
    for (unsigned callee : function.calls) {
        gather(program, callee, seen, shared, dynamic);
    }
}

}  // namespace

std::string Program::line(uint32_t number) const {
    size_t start = 0;
    for (uint32_t i = 1; i < number; i++) {
        start = text.find('\n', start) + 1;
    }
    std::string found = text.substr(start, text.find('\n', start) - start);
    size_t first = found.find_first_not_of(" \t"), last = found.find_last_not_of(" \t\r");
    found = first == std::string::npos ? "" : found.substr(first, last + 1 - first);
    std::replace(found.begin(), found.end(), '\t', ' ');
    return found;
}

std::shared_ptr<const Program> parse(const std::string& text, std::string& message) {
    // Reading takes longer than most launches, and programs load the same module again and again.
    static std::unordered_map<std::string, std::shared_ptr<const Program>> read;
    auto found = read.find(text);
    if (found != read.end()) {
        return found->second;
    }
    try {
        return read[text] = Parser(text).run();
    } catch (const Error& error) {
        message = error.message;
        return nullptr;
    }
}

std::vector<std::shared_ptr<const Entry>> entries_of(const std::shared_ptr<const Program>& program) {
    std::vector<std::shared_ptr<const Entry>> entries;
    for (unsigned i = 0; i < program->functions.size(); i++) {
        const Function& function = program->functions[i];
        if (!function.entry) {
            continue;
        }
        auto entry = std::make_shared<Entry>();
        entry->program = program;
        entry->function = i;
        for (Parameter parameter : function.parameters) {
            entry->sizes.push_back(parameter.bytes);
        }
        entry->kernel = {function.name.c_str(), function.most_threads == 0 ? UNBOUNDED_THREADS : function.most_threads,
            unsigned(entry->sizes.size()), entry->sizes.data(), nullptr};
        std::set<unsigned> seen, shared;
        bool dynamic = false;
        gather(*program, i, seen, shared, dynamic);
        for (unsigned used : shared) {
            entry->shared.push_back(program->shared[used]);
        }
        entry->shared.insert(entry->shared.end(), function.shared.begin(), function.shared.end());
        entry->static_shared = 0;
        entry->dynamic_start = OWN_SHARED;
        for (const SharedVariable& variable : entry->shared) {
            entry->static_shared += align_up(variable.bytes, 16);
            entry->dynamic_start = std::max(entry->dynamic_start, align_up(variable.offset + variable.bytes, 16) + 16);
        }
        entries.push_back(entry);
    }
    return entries;
}

}  // namespace simt::ptx
