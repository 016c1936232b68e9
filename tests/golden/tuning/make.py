# Writes the examples that the small made-up sets of this folder give: NAME.expected, lines as `mdm finetune --examples` prints
# them. Independent of mdm: ids come from the tokenizers package (pip install tokenizers), the rules are written out below.
import json, os
from tokenizers import Tokenizer

os.chdir(os.path.dirname(os.path.abspath(__file__)))
tokenizer = Tokenizer.from_file("../tokenizers/llama.json")
BEGIN, END = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
LENGTH = 256
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
          "and polite answers to the user's questions.")


def encode(text):
    return [BEGIN] + tokenizer.encode(text, add_special_tokens=False).ids


def lines(name):
    return [json.loads(line) for line in open(name, encoding="utf-8")]


def sharegpt(mdm):
    for row in json.load(open("sharegpt.json", encoding="utf-8")):
        said = row["conversations"]
        if len(said) < 2 or said[0]["from"] != "human" or said[1]["from"] != "gpt":
            continue
        prompt = encode(f"{VICUNA} USER: {said[0]['value']} ASSISTANT:")
        ids = prompt + encode(said[1]["value"]) + [END]
        if len(ids) <= LENGTH:
            yield ids, len(prompt)


def gsm8k(mdm):
    for line in open("gsm8k.txt", encoding="utf-8"):
        if len(line.split("||")) != 2 or len(line.split("||")[1].split("####")) != 2:
            continue
        question, rest = line.split("||")
        thought, answer = rest.split("####")
        question, thought = encode("Question: " + question), encode("Answer: " + thought)
        answer = encode("####" + answer) + [END]
        if len(question + thought + answer) > LENGTH:
            continue
        for ids, prompt in ((question + thought, question), (question + thought + answer, question + thought)):
            yield ids + [END] * (LENGTH - len(ids) if mdm else 0), len(prompt)


def reverse(mdm):
    for row in lines("reverse.jsonl"):
        yield encode(row["prompt"] + row["completion"]) + [END], 0


def completion(mdm):
    for row in lines("completion.jsonl"):
        prompt = encode(row["prompt"])
        yield prompt + encode(row["completion"]) + [END], len(prompt)


def chat(mdm):
    for row in lines("chat.jsonl"):
        system, ids = VICUNA + " ", []
        for message in row["messages"]:
            text = message["content"]
            if message["role"] == "system":
                system = text + " "
            elif message["role"] == "user":
                ids, system = ids + encode(f"{system}USER: {text} ASSISTANT:"), ""
            else:
                prompt, ids = len(ids), ids + encode(text) + [END]
                if len(ids) > LENGTH:
                    break
                yield ids, prompt


for task in (sharegpt, gsm8k, reverse, completion, chat):
    for mdm in (True, False):
        if task is not gsm8k and not mdm:
            continue
        with open(task.__name__ + ("" if mdm else ".arm") + ".expected", "w") as out:
            for ids, prompt in task(mdm):
                print(json.dumps({"ids": ids, "prompt_tokens": prompt}, separators=(",", ":")), file=out)
