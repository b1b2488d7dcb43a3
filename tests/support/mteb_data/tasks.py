"""Which shape of data each task has on the hub."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.mteb_data import shapes
from tests.support.mteb_data.searches import Search, searches
from tests.support.mteb_data.writing import Configs, Writer

TASKS: dict[str, Callable[[Writer], Configs]] = {
    "SprintDuplicateQuestions": shapes.pair_lists,
    "TwitterSemEval2015": shapes.pair_lists,
    "TwitterURLCorpus": shapes.pair_lists,
    "AmazonCounterfactualClassification": shapes.languages(
        "en", "en-ext", "de", "ja", shape=shapes.yes_or_no
    ),
    "AmazonReviewsClassification": shapes.languages("en", "de"),
    "Banking77Classification": shapes.class_labels,
    "EmotionClassification": shapes.classification,
    "MTOPDomainClassification": shapes.languages("en", "de"),
    "MTOPIntentClassification": shapes.languages("en", "de", shape=shapes.rare_labels),
    "MassiveIntentClassification": shapes.by_language,
    "MassiveScenarioClassification": shapes.by_language,
    "ToxicConversationsClassification": shapes.yes_or_no,
    "TweetSentimentExtractionClassification": shapes.classification,
    "ArxivClusteringS2S": shapes.named_cluster_sets,
    "BiorxivClusteringS2S": shapes.named_cluster_sets,
    "MedrxivClusteringS2S": shapes.named_cluster_sets,
    "RedditClustering": shapes.named_cluster_sets,
    "StackExchangeClustering": shapes.named_cluster_sets,
    "TwentyNewsgroupsClustering": shapes.cluster_sets,
    "AskUbuntuDupQuestions": Search(candidates=True),
    "MindSmallReranking": Search(candidates=True, subqueries=2),
    "SciDocsRR": Search(candidates=True, titles=True),
    "StackOverflowDupQuestions": Search(candidates=True, graded=True),
    "BIOSSES": shapes.similarity,
    "SICK-R": shapes.similarity,
    "STS12": shapes.similarity,
    "STS13": shapes.similarity,
    "STS14": shapes.similarity,
    "STS15": shapes.similarity,
    "STS16": shapes.similarity,
    "STS17": shapes.similarity_by_language,
    "STSBenchmark": shapes.similarity,
}
"""The 32 of the Layer by Layer paper."""

MORE_TASKS: dict[str, Callable[[Writer], Configs]] = {
    "CataloniaTweetClassification": shapes.languages("spanish", "catalan"),
    "SciRepEvalBiomimicryClassification": shapes.papers,
    "CEDRClassification": shapes.several_labels,
    "RuSciBenchCitedCountRegression": shapes.languages(
        "cited_count_ru", "cited_count_en", shape=shapes.values
    ),
    "RedditClustering.v2": shapes.many_cluster_sets,
    "SNLHierarchicalClusteringS2S": shapes.label_paths,
    "CTKFactsNLI": shapes.pair_rows,
    "SciFact": Search(titles=True),
    "InstructIR": Search(subqueries=2, instructions=True),
    "XGlueWPRReranking": searches(
        "de", "en", splits=("validation", "test"), search=Search(candidates=True, graded=True)
    ),
    "SummEvalSummarization.v2": shapes.summaries,
    "BornholmBitextMining": shapes.translations,
    "BUCC.v2": shapes.translations_by_language,
}
"""Of the types, splits, subsets and columns that the paper's have not."""
